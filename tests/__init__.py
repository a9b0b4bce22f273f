"""The tests, in a room for each kind of promise. Shared code is in `support`, commands in `tools`."""
