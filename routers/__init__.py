"""The routes: each handler translates a request to a use case and its result to a response."""
