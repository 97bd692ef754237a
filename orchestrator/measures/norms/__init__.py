"""Norms of the weights and other measures of capacity."""
