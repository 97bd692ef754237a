"""Statistics by loops, as their definitions say."""

import numpy as np


def tau_a(x, y):
    n = len(x)
    signs = [np.sign(x[i] - x[j]) * np.sign(y[i] - y[j]) for i in range(n) for j in range(n)]
    return sum(signs) / (n * (n - 1))
