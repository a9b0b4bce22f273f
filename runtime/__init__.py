"""The process: its start and end, its log, its CPU."""
