"""HTTP to use case and back."""
