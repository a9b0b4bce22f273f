"""The first picture of a file as a minimal file, one module for each format."""
