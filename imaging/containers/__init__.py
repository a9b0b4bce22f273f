"""The containers JPEG, PNG, GIF and WebP: strict walks that find the pixels and decode none.

A walk reads only what tells where things lie, in one pass, and allocates nothing that grows with
what the file announces. It refuses what is no whole file of its format, and what would take too
many pixels, before any decoder sees a byte.
"""
