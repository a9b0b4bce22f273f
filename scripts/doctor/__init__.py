"""`python -m scripts.doctor`: tests what the service needs of its database and bucket."""
