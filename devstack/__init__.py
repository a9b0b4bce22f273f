"""Embedded servers for `make run`, the tests and the benchmarks. They are not deployed."""
