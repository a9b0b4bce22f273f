"""A file without what its pixels, colours and movement do not need, one module for each format."""
