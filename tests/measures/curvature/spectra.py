"""Symmetric matrices whose eigenvalues are known."""

import numpy as np
import torch

from orchestrator.measures.symmetric_operator import SymmetricOperator


def with_spectrum(values, seed=0):
    """A symmetric matrix with these eigenvalues, in random directions."""
    random = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(random.normal(size=(len(values), len(values))))
    return torch.from_numpy(rotation @ np.diag(np.asarray(values, dtype=float)) @ rotation.T)


def signs(dimension, seed, index=0):
    """A probe: independent entries ±1."""
    generator = torch.Generator().manual_seed(1000 * seed + index)
    return torch.randint(0, 2, (dimension,), generator=generator).double() * 2 - 1


def diagonal(values, dtype=torch.float64):
    """The operator with these eigenvalues, in the directions of the axes."""
    values = torch.as_tensor(np.asarray(values, dtype=float)).to(dtype)
    return SymmetricOperator(lambda v: values * v, len(values), dtype=dtype)


def gaussian(dimension, seed, index=0):
    """A random vector without any preferred direction."""
    generator = torch.Generator().manual_seed(1000 * seed + index)
    return torch.randn(dimension, generator=generator, dtype=torch.float64)
