"""Maintenance of bucket and tables: the sweeper, verification and erasure."""
