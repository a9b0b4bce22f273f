"""The use cases and the rules of the images; nothing here knows HTTP."""
