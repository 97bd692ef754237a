"""MNIST-1D: ten shapes, stretched, shifted and buried in noise; 40 numbers per example.

Greydanus and Kobak, "Scaling down deep learning with MNIST-1D" (arXiv:2011.14439).
"""

from __future__ import annotations

import random

import numpy as np

from orchestrator.data.found_files import SourceArrays
from orchestrator.registry import builds
from orchestrator.study.data_options import BuiltinData

_CANONICAL_SEED = 42
_NUMPY_SEEDS = 2**32


@builds(BuiltinData, "mnist1d")
def load_mnist1d(options: BuiltinData) -> SourceArrays:
    """Generate 4,000 training and 1,000 test examples, each of shape ``(40,)``.

    Args:
        options: Seed 0 gives the data set of the paper (generator seed 42); any other seed ``s``
            uses the generator seed ``42 + s`` (modulo 2³²).
    """
    # The generator reseeds the process-wide random numbers, so their state is restored.
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        from mnist1d.data import get_dataset_args, make_dataset

        arguments = get_dataset_args()
        arguments.seed = (_CANONICAL_SEED + options.seed) % _NUMPY_SEEDS
        data = make_dataset(arguments)
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
    return SourceArrays(data["x"], data["y"], data["x_test"], data["y_test"], classes=10)
