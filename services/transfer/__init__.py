"""Moving in and out: imports from folders, archives and buckets, and exports to them."""
