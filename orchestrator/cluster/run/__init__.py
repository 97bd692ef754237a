"""A run, from reading the results to its summary."""
