"""MNIST-1D: ten shapes, stretched, shifted and drowned in noise; 40 numbers an example.

Greydanus and Kobak, "Scaling down deep learning with MNIST-1D" (arXiv:2011.14439).
"""

from __future__ import annotations

import random

import numpy as np

from orchestrator.data.found_files import SourceArrays

_CANONICAL_SEED = 42
_NUMPY_SEEDS = 2**32


def load_mnist1d(seed: int) -> SourceArrays:
    """Generate 4,000 examples to train on and 1,000 to test on, each of shape ``(40,)``.

    Args:
        seed: 0 gives the data set of the paper (the generator's seed 42); any other seed ``s``
            gives that of the generator's seed ``42 + s`` (modulo 2³²).
    """
    # The generator seeds the random numbers of the whole process: they are put back.
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        from mnist1d.data import get_dataset_args, make_dataset

        arguments = get_dataset_args()
        arguments.seed = (_CANONICAL_SEED + seed) % _NUMPY_SEEDS
        data = make_dataset(arguments)
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
    return SourceArrays(data["x"], data["y"], data["x_test"], data["y_test"], classes=10)
