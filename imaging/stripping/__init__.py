"""Remove what pixels, colours and movement do not need, with one module for each format."""
