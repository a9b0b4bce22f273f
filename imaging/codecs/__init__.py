"""C interfaces of the libraries that Pillow includes, for what Pillow does not offer."""
