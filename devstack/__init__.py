"""The embedded servers of `make run` and of the tests; not part of what is deployed."""
