"""Smaller pictures: their sizes, their colours, their pixels."""
