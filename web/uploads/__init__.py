"""Uploads: receiving a form or a file, and the response."""
