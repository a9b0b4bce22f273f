"""What the service tells of itself: figures for Prometheus, and what each request took."""
