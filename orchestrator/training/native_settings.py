"""Settings of a process below torch: compiler, rounding, BLAS threads, umask and child processes.

The threads of torch's own BLAS and OpenMP are its setting ``threads``. The OpenBLAS libraries
bundled with numpy and scipy have threads of their own.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from threadpoolctl import ThreadpoolController

COMPILER = (
    *("torch._dynamo.config", "torch._inductor.config", "torch._functorch.config"),
    "torch.compiler.config",
)
"""Modules whose attributes are settings of ``torch.compile``."""


def compiler_settings(module: str) -> dict[str, Any]:
    """Return the settings that differ from their default; none before the module is imported."""
    config: Any = sys.modules.get(module)
    if config is None:
        return {}
    changed = (name for name in config._config if not config._is_default(name))
    values = {name: getattr(config, name) for name in changed}
    defaults = {name: config._config[name].default for name in values}
    return {name: value for name, value in values.items() if value != defaults[name]}


def set_compiler_settings(module: str, found: dict[str, Any]) -> None:
    """Reset the settings of a module to a result of :func:`compiler_settings`."""
    config: Any = sys.modules.get(module)
    for name in compiler_settings(module).keys() | found.keys():
        setattr(config, name, found.get(name, config._config[name].default))


def umask() -> int:
    """Return the umask, the permissions that new files lack."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    found = os.umask(0o077)  # Elsewhere it can only be read by setting it.
    os.umask(found)
    return found


_libc: Any = ctypes.CDLL(None) if os.name == "posix" else None
HAS_ROUNDING_MODE = hasattr(_libc, "fegetround")


def rounding_mode() -> int:
    """Return the floating-point rounding mode of this thread, as given by C's ``fegetround``."""
    return int(_libc.fegetround())


def set_rounding_mode(found: int) -> None:
    """Set the rounding mode to a result of :func:`rounding_mode`."""
    _libc.fesetround(found)


_blas: dict[str, Any] = {}
_threads_at_first: dict[str, int] = {}


def blas_threads() -> dict[str, int]:
    """Return the BLAS libraries whose number of threads differs from when they were first seen.

    A library loaded in between does not count as a change.
    """
    if _blas.get("modules") != len(sys.modules):  # Libraries are loaded with modules.
        _blas["modules"] = len(sys.modules)
        _blas["libraries"] = ThreadpoolController().select(user_api="blas").lib_controllers
    changed = {}
    for library in _blas["libraries"]:
        now = library.num_threads
        if now != _threads_at_first.setdefault(library.filepath, now):
            changed[library.filepath] = now
    return changed


def set_blas_threads(found: dict[str, int]) -> None:
    """Reset the libraries to a result of :func:`blas_threads`."""
    for library in _blas["libraries"]:
        library.set_num_threads(found.get(library.filepath, _threads_at_first[library.filepath]))


def running_children() -> frozenset[int]:
    """Return the process ids of this process's running children.

    The helpers of ``multiprocessing``, which end with this process, do not count.
    """
    tasks = list(Path("/proc/self/task").glob("*/children"))
    if not tasks:
        return frozenset(child.pid or 0 for child in multiprocessing.active_children())
    found: set[int] = set()
    for task in tasks:
        with suppress(OSError):  # The thread has ended.
            found |= {int(pid) for pid in task.read_text().split()}
    return frozenset(filter(_runs, found - _helpers()))


def _runs(pid: int) -> bool:
    with suppress(OSError):
        # The state follows the name, which may contain any characters.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def _helpers() -> set[int | None]:
    tracker = getattr(
        sys.modules.get("multiprocessing.resource_tracker"), "_resource_tracker", None
    )
    server = getattr(sys.modules.get("multiprocessing.forkserver"), "_forkserver", None)
    return {getattr(tracker, "_pid", None), getattr(server, "_forkserver_pid", None)}
