"""Data sets as pairs of tensors in memory."""

from orchestrator.data.dataset import Dataset, Split
from orchestrator.data.load import load_dataset
from orchestrator.data.stratification import stratified_order, subset

__all__ = ["Dataset", "Split", "load_dataset", "stratified_order", "subset"]
