"""Statistics of a grid of hyperparameters, beyond single correlations."""
