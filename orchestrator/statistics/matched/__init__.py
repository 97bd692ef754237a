"""Comparison of networks that were trained equally far."""
