"""What keeps bucket and tables in step: the sweeper, verification, erasure."""
