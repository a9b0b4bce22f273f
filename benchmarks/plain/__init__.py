"""A peer: the image service that one writes in an afternoon."""
