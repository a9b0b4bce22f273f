"""Decoding every pixel of a file, in processes that can be given up."""
