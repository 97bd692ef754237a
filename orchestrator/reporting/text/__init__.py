"""Sentences and small tables of the report."""
