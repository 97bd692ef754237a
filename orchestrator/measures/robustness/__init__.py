"""Robustness: how far inputs can be moved before the prediction changes."""
