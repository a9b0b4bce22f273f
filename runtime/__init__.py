"""The process: startup, shutdown, connections, log and memory."""
