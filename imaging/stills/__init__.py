"""Reduce a file to its first picture, with one module for each format."""
