"""The same picture, smaller: which variants there may be, and how their pixels are made."""
