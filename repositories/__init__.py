"""Every SQL statement, a module for each table."""
