"""Queries on the results, and data derived from them for the report."""
