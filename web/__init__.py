"""HTTP beyond the routes: access, uploads, conditional requests, responses, OpenAPI."""
