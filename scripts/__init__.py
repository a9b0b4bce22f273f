"""Commands to be run as `python -m scripts.NAME`, from the root of the checkout.

create_tables, doctor, keys, purge, sweep and verify; each explains itself with `--help`.
"""
