"""A run from its first look at the results to its summary."""
