"""The operator's commands. Run them from the root of the checkout: `python -m scripts.NAME`."""
