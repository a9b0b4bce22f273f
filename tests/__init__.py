"""The tests, in a room for each kind of promise; `support` is shared, `tools` are commands."""
