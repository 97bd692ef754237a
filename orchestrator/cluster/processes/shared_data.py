"""Data sets in Ray's object store: sent to a node once, read there without a copy."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import ray
import torch

from orchestrator.data import load_dataset
from orchestrator.data.dataset import Dataset
from orchestrator.study.data_options import DataOptions
from orchestrator.training.process_guard import left_as_found


class SharedData:
    """The data sets of a study, by their options.

    Args:
        options: Options of the data sets that the study's trials train on. The calling process
            reads each distinct data set once, so that only the driver needs the files.
    """

    def __init__(self, options: Iterable[DataOptions]) -> None:
        self.references: dict[str, ray.ObjectRef[Any]] = {}
        for option in options:
            key = _key(option)
            if key not in self.references:
                with left_as_found():
                    arrays = _to_arrays(load_dataset(option))
                self.references[key] = ray.put(arrays)

    def load(self, options: DataOptions, device: str) -> Dataset:
        """Return the data set of ``options`` on ``device``; each process caches the last few."""
        return _load(self.references[_key(options)], device)


def _key(options: DataOptions) -> str:
    return json.dumps(options.model_dump(mode="json"), sort_keys=True)


@lru_cache(maxsize=4)
def _load(reference: ray.ObjectRef[Any], device: str) -> Dataset:
    arrays = ray.get(reference)
    with warnings.catch_warnings():
        # The object store's memory is read-only, and nothing here writes to a data set.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        tensors: dict[str, Any] = {
            key: torch.from_numpy(value) for key, value in arrays["tensors"].items()
        }
    return Dataset(**tensors, **arrays["facts"]).to(device)


def _to_arrays(dataset: Dataset) -> dict[str, dict[str, Any]]:
    return {
        "tensors": {
            name: getattr(dataset, name).numpy()
            for name in ("train_x", "train_y", "test_x", "test_y")
        },
        "facts": {
            "name": dataset.name,
            "classes": dataset.classes,
            "content_hash": dataset.content_hash,
        },
    }
