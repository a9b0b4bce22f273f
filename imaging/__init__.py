"""Everything that knows pictures, and nothing about HTTP, S3 or SQL."""
