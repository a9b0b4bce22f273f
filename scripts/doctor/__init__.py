"""`python -m scripts.doctor`: checks what the service needs from its database and bucket."""
