"""HTTP beyond the routes: forms, conditions, pages, problems, bytes, and what OpenAPI says."""
