"""Every SQL statement, one module for each table."""
