"""The first picture of a file, reduced to what its pixels need: a module for each format."""
