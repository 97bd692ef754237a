"""Sharpness: how the loss grows when the weights are perturbed."""
