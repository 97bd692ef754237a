"""The user's own data set: a callable named by import path or entry point."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from orchestrator.data.found_files import SourceArrays, from_user
from orchestrator.errors import DataError
from orchestrator.study.data_options import CustomData
from orchestrator.study.import_path import own_code, resolve_import_path

_EXPECTED = "(x_train, y_train, x_test, y_test)"


def load_custom(options: CustomData) -> SourceArrays:
    """Call the callable named ``options.name`` with the other keys of the study file.

    Raises:
        ImportPathError: If the callable cannot be imported.
        DataError: If it raises, or does not return four arrays or tensors.
    """
    create = resolve_import_path(options.name, kind="datasets")
    where = f"data set {options.name!r}"
    try:
        with own_code():
            result = create(**options.arguments)
    except DataError:
        raise
    except Exception as error:
        given = ", ".join(options.arguments) or "no arguments"
        raise DataError(
            f"{where}: raised {type(error).__name__}: {error} (called with {given})"
        ) from error
    if not isinstance(result, tuple | list) or len(result) != 4:
        size = f" of {len(result)}" if isinstance(result, tuple | list) else ""
        raise DataError(f"{where}: returned a {type(result).__name__}{size}, expected {_EXPECTED}")
    return from_user([_to_array(value, where) for value in result], where)


def _to_array(value: Any, where: str) -> NDArray[Any]:
    if isinstance(value, torch.Tensor):
        # NumPy has no bfloat16.
        kept = value.float() if value.dtype is torch.bfloat16 else value
        array: NDArray[Any] = kept.detach().cpu().numpy()
        return array
    if isinstance(value, np.ndarray):
        return value
    raise DataError(
        f"{where}: returned a {type(value).__name__} in {_EXPECTED}, expected arrays or tensors"
    )
