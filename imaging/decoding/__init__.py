"""Decode and render pictures in processes that may be killed."""
