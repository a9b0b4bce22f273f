"""The operator's commands. Run them from the root of the checkout: `python -m scripts.NAME --help`.

create_user, create_tables, doctor, keys, purge, sweep, verify, import_images and export_images.
"""
