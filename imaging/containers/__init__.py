"""Strict walkers of JPEG, PNG, GIF and WebP, which find the pixels but do not decode them.

A walk reads the structure in one pass and allocates nothing in proportion to what the file
announces. It refuses incomplete files and too many pixels before a decoder sees a byte.
"""
