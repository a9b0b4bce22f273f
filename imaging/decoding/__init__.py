"""Processes that decode and render pictures, and that can be given up."""
