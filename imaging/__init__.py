"""What knows pictures and nothing of HTTP, S3 or SQL: containers, decoding and rendering."""
