"""HTTP to use case and back: a module of routes each, and in dependencies.py what they ask for."""
