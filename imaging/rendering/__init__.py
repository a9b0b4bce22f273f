"""Render pictures at a smaller size: sizes, colours and pixels."""
