"""The settings of a process that user code can change: one table of how to read and reset them.

Torch keeps most of its settings behind pairs of functions ``_get_…`` and ``_set_…``. The table
includes all such pairs, so settings added by later versions of torch are covered. Settings are
written only if they differ, because writing some of them, even unchanged, changes others.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.overrides
from torch.nn.modules import module as module_hooks
from torch.optim import optimizer as optimizer_hooks
from torch.utils import _device

from orchestrator.training.native_settings import (
    COMPILER,
    HAS_ROUNDING_MODE,
    blas_threads,
    compiler_settings,
    rounding_mode,
    set_blas_threads,
    set_compiler_settings,
    set_rounding_mode,
    umask,
)

_overrides: Any = torch.overrides  # Its functions are untyped.


@dataclass(frozen=True)
class Setting:
    """One setting of the process.

    Attributes:
        name: Name in messages.
        read: Returns the current value, which compares by ``==`` and is not altered by later
            changes.
        write: Sets the setting to such a value; None if nothing can set it.
        harmless: Whether it affects no number. Libraries change harmless settings when imported
            and used, so these are reset silently.
        inherited: Whether threads started in between keep the changed value despite a reset.
    """

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object] | None = None
    harmless: bool = False
    inherited: bool = False


# Not settings, or read by other entries of the table.
_NO_SETTINGS = {
    *("thread_name", "tracing_state", "graph_exec_group", "dispatch_mode", "tensor_metadata"),
    *("value_trace", "torch_function_state", "deterministic_algorithms"),
}
# Named as in ``torch.set_…``, in the order in which they must be written: later ones are finer,
# and each also writes those before it.
_PRECISION = ("float32_matmul_precision", "cublas_allow_tf32", "cudnn_allow_tf32")
_FP32_PRECISION = (
    *(("generic", "all"), ("cuda", "all"), ("mkldnn", "all")),
    *((backend, kind) for backend in ("cuda", "mkldnn") for kind in ("matmul", "conv", "rnn")),
)
_SWITCHES = ("multithreading_enabled", "view_replay_enabled", "fwd_grad_enabled")
_ATTENTION = ("flash_sdp", "math_sdp", "mem_efficient_sdp", "cudnn_sdp")


def process_settings() -> tuple[Setting, ...]:
    """Return all settings, in the order in which they must be reset."""
    return (
        Setting("default dtype", torch.get_default_dtype, torch.set_default_dtype),
        Setting("default device", _default_device, torch.set_default_device),
        Setting("gradient mode", torch.is_grad_enabled, torch._C._set_grad_enabled),
        Setting("inference mode", torch.is_inference_mode_enabled),
        Setting("torch function modes", _function_modes, _set_function_modes),
        Setting("torch dispatch modes", torch._C._len_torch_dispatch_stack),
        Setting("saved-tensor hooks", _saved_tensor_hooks, _pop_saved_tensor_hooks),
        Setting("threads", torch.get_num_threads, torch.set_num_threads),
        Setting("inter-operation threads", torch.get_num_interop_threads),
        Setting("threads of BLAS", blas_threads, set_blas_threads),
        Setting("flush-denormal", _flushes_denormals, torch.set_flush_denormal),
        Setting("deterministic algorithms", _deterministic, _set_deterministic),
        Setting("anomaly detection", _anomaly, lambda found: torch.set_anomaly_enabled(*found)),
        *_autocast(),
        *_torch_pairs(),
        *_attention(),
        *_precision(),
        *_cuda(),
        *_compiler(),
        *_rounding(),
        *_hook_tables(),
        *_module_conversion(),
        Setting("recursion limit", sys.getrecursionlimit, sys.setrecursionlimit, harmless=True),
        Setting("numpy error handling", np.geterr, lambda found: np.seterr(**found), harmless=True),
        Setting("numpy print options", _numpy_print, _set_numpy_print, harmless=True),
        Setting("torch print options", _torch_print, _set_torch_print, harmless=True),
        Setting("warnings filters", lambda: list(warnings.filters), _set_filters, harmless=True),
        Setting("environment", lambda: dict(os.environ), _set_environment, harmless=True),
        Setting("working folder", _working_folder, os.chdir, harmless=True),
        Setting("sys.path", lambda: list(sys.path), _set_path, harmless=True),
        Setting("signal handlers", _signal_handlers, _set_signal_handlers, harmless=True),
        Setting("pending alarm", _alarm, _set_alarm, harmless=True),
        Setting("umask", umask, os.umask, harmless=True),
        *_affinity(),
    )


def _default_device() -> torch.device | None:
    """Return the default device; None if never set, so that no torch call goes through a mode."""
    context = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
    return None if context is None else context.device


def _function_modes() -> tuple[Any, ...]:
    """Return the active modes, without that of the default device."""
    default = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
    stack = _overrides._get_current_function_mode_stack()
    return tuple(mode for mode in stack if mode is not default)


def _set_function_modes(found: tuple[Any, ...]) -> None:
    default = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
    while torch._C._len_torch_function_stack():
        _overrides._pop_mode()
    for mode in (*((default,) if default is not None else ()), *found):
        _overrides._push_mode(mode)
    _device.CURRENT_DEVICE = None if default is None else default.device


def _saved_tensor_hooks() -> Any:
    return torch._C._autograd._top_saved_tensors_default_hooks(True)


def _pop_saved_tensor_hooks(found: Any) -> None:
    while (top := _saved_tensor_hooks()) is not None and top != found:
        torch._C._autograd._pop_saved_tensors_default_hooks()


def _flushes_denormals() -> bool:
    # Torch does not expose it, but Python's own floats are computed under the same switch.
    return sys.float_info.min / 2 == 0.0


def _deterministic() -> tuple[bool, bool]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )


def _set_deterministic(found: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(found[0], warn_only=found[1])


def _anomaly() -> tuple[bool, bool]:
    return torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()


def _autocast() -> Iterator[Setting]:
    for device in ("cpu", "cuda"):
        yield Setting(
            f"autocast on {device}",
            partial(torch.is_autocast_enabled, device),
            partial(torch.set_autocast_enabled, device),
        )
        yield Setting(
            f"autocast dtype on {device}",
            partial(torch.get_autocast_dtype, device),
            partial(torch.set_autocast_dtype, device),
        )
    yield Setting(
        "autocast cache", torch.is_autocast_cache_enabled, torch.set_autocast_cache_enabled
    )


def _torch_pairs() -> Iterator[Setting]:
    """Yield the settings that torch itself can read without an argument and write."""
    names = set(dir(torch._C))
    for name in sorted(names):
        key = name.removeprefix("_get_")
        if key == name or f"_set_{key}" not in names or key in {*_NO_SETTINGS, *_PRECISION}:
            continue
        yield Setting(f"torch's {key}", _read(name), partial(_write, f"_set_{key}"))
    for key in _SWITCHES:
        yield Setting(f"torch's {key}", _read(f"_is_{key}"), partial(_write, f"_set_{key}"))


def _read(name: str) -> Callable[[], Any]:
    function = getattr(torch._C, name)

    def read() -> Any:
        try:
            return function()
        except RuntimeError:  # Two interfaces to the same setting were mixed.
            return None

    return read


def _write(name: str, value: Any) -> None:
    function = getattr(torch._C, name)
    function(*value) if isinstance(value, tuple) else function(value)


def _attention() -> Iterator[Setting]:
    for key in _ATTENTION:
        yield Setting(
            f"torch's {key}",
            getattr(torch.backends.cuda, f"{key}_enabled"),
            getattr(torch.backends.cuda, f"enable_{key}"),
        )


def _precision() -> Iterator[Setting]:
    for key in _PRECISION:
        yield Setting(f"torch's {key}", _read(f"_get_{key}"), partial(_write, f"_set_{key}"))
    for backend, kind in _FP32_PRECISION:
        yield Setting(
            f"float32 precision of {backend}, {kind}",
            partial(torch._C._get_fp32_precision_getter, backend, kind),
            partial(torch._C._set_fp32_precision_setter, backend, kind),
        )


def _cuda() -> Iterator[Setting]:
    def read() -> int | None:
        # Querying the device would initialize CUDA.
        started = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
        return torch.cuda.current_device() if started else None

    def write(device: int | None) -> None:
        if device is not None:
            torch.cuda.set_device(device)

    if torch.cuda.is_available():
        yield Setting("CUDA device", read, write)


def _compiler() -> Iterator[Setting]:
    for module in COMPILER:
        yield Setting(
            module,
            partial(compiler_settings, module),
            partial(set_compiler_settings, module),
        )


def _rounding() -> Iterator[Setting]:
    if HAS_ROUNDING_MODE:
        yield Setting("rounding mode", rounding_mode, set_rounding_mode, inherited=True)


def _hook_tables() -> Iterator[Setting]:
    for place, name in (
        *((module_hooks, name) for name in vars(module_hooks) if name.startswith("_global_")),
        *((optimizer_hooks, name) for name in vars(optimizer_hooks) if name.startswith("_global_")),
    ):
        if isinstance(table := getattr(place, name), dict):
            label = f"hooks on all modules and optimizers ({name.removeprefix('_global_')})"
            yield Setting(label, partial(dict, table), partial(_refill, table))
    yield Setting(
        "hooks on all modules (full backward)",
        lambda: module_hooks._global_is_full_backward_hook,
        partial(setattr, module_hooks, "_global_is_full_backward_hook"),
    )


def _refill(table: dict[Any, Any], found: dict[Any, Any]) -> None:
    table.clear()
    table.update(found)


def _module_conversion() -> Iterator[Setting]:
    for key in ("overwrite_module_params_on_conversion", "swap_module_params_on_conversion"):
        yield Setting(
            f"torch's {key}",
            getattr(torch.__future__, f"get_{key}"),
            getattr(torch.__future__, f"set_{key}"),
        )


def _numpy_print() -> dict[str, Any]:
    return dict(np.get_printoptions())


def _set_numpy_print(found: dict[str, Any]) -> None:
    np.set_printoptions(**found)


def _torch_print() -> dict[str, Any]:
    return dict(vars(torch._tensor_str.PRINT_OPTS))


def _set_torch_print(found: dict[str, Any]) -> None:
    vars(torch._tensor_str.PRINT_OPTS).update(found)


def _set_filters(found: list[Any]) -> None:
    warnings.resetwarnings()  # Also clears decisions made under the other filters.
    warnings.filters.extend(found)  # type: ignore[attr-defined]


def _set_environment(found: dict[str, str]) -> None:
    for name in os.environ.keys() - found.keys():
        del os.environ[name]
    for name, value in found.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def _working_folder() -> str | None:
    with suppress(FileNotFoundError):  # The folder was removed.
        return os.getcwd()
    return None


def _set_path(found: list[str]) -> None:
    sys.path[:] = found


def _signal_handlers() -> dict[signal.Signals, Any]:
    return {number: signal.getsignal(number) for number in signal.Signals}


def _set_signal_handlers(found: dict[signal.Signals, Any]) -> None:
    if threading.current_thread() is not threading.main_thread():
        return  # Python refuses, and no code in this thread could have changed them.
    for number, handler in found.items():
        if handler is not None and signal.getsignal(number) is not handler:
            signal.signal(number, handler)


def _alarm() -> bool:
    return signal.getitimer(signal.ITIMER_REAL)[0] > 0


def _set_alarm(found: bool) -> None:
    if not found:
        signal.setitimer(signal.ITIMER_REAL, 0.0)


def _affinity() -> Iterator[Setting]:
    if hasattr(os, "sched_getaffinity"):
        yield Setting(
            "cores",
            partial(os.sched_getaffinity, 0),
            partial(os.sched_setaffinity, 0),
            harmless=True,
        )
