"""Handwritten digits of 8 × 8 pixels, included with scikit-learn.

Alpaydin and Kaynak, "Optical recognition of handwritten digits" (UCI, 1998).
"""

from __future__ import annotations

import torch

from orchestrator.data.found_files import SourceArrays
from orchestrator.data.stratification import stratified_order
from orchestrator.registry import builds
from orchestrator.study.data_options import BuiltinData

_TEST_SHARE = 0.2
_SPLIT_SEED = 0
_BRIGHTEST = 16.0


@builds(BuiltinData, "digits")
def load_digits(options: BuiltinData) -> SourceArrays:
    """Load images of shape ``(1, 8, 8)``: 1,438 for training, 359 for testing.

    scikit-learn defines no split. This one is stratified and always the same.
    """
    del options
    from sklearn.datasets import load_digits as load_bunch

    bunch = load_bunch()
    images, labels = bunch.images[:, None], bunch.target
    order = stratified_order(torch.from_numpy(labels), _SPLIT_SEED).numpy()
    test_size = round(_TEST_SHARE * len(labels))
    test, train = sorted(order[:test_size]), sorted(order[test_size:])
    return SourceArrays(
        images[train], labels[train], images[test], labels[test], classes=10, scale=_BRIGHTEST
    )
