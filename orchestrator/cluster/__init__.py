"""Execution of studies; the only package that uses Ray."""
