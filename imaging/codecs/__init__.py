"""C interfaces of libraries that Pillow includes, for functions that Pillow does not expose."""
