"""Rendering a picture at a smaller size: sizes, colours and pixels."""
