"""How it learns: one network, trained in plain PyTorch."""
