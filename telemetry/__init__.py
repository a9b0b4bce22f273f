"""Observability: the Prometheus metrics, and what each request took."""
