"""What a grid of hyperparameters says beyond single correlations."""
