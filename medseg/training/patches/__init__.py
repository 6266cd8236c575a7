"""Patches: which come next, reading them ahead, and batches of them."""
