"""What is learned: data sets as pairs of resident tensors."""
