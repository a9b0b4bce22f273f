"""The application `bare`, which does nothing. CPU per request is given in units of its requests."""
