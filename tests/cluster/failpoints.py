"""Faults at the moments that matter, in the processes that matter, made to happen by tests.

The package knows nothing of this. Everything it stores passes through ``os.fsync`` (the temporary
file is complete) and ``os.replace`` (it gets its name), so that these two are where a process can
be killed in the middle of a file, between two files, or be told that the disk is full. Ray runs
:func:`install` as each worker starts; what is to happen stands in a file, which tests change while
the workers live on. A fault strikes a stated number of times, however many processes come by:
each time makes a file, which only one can make.
"""

import errno
import importlib
import json
import os
import re
import signal
import sys
import time
from pathlib import Path

FAULTS = "FAILPOINTS_FILE"
_fsync, _replace = os.fsync, os.replace


def install():
    """Let this process meet the faults that the file at ``$FAILPOINTS_FILE`` describes."""
    os.fsync, os.replace = fsync, replace


def setup(runtime_env):
    """Ray's hook for the runtime environment: install in the workers of a driver's own Ray."""
    return {**(runtime_env or {}), "worker_process_setup_hook": f"{__name__}.install"}


def fsync(descriptor):
    path = os.readlink(f"/proc/self/fd/{descriptor}")
    strike("half", path)
    _fsync(descriptor)


def replace(source, target, **more):
    strike("named", str(target))
    _replace(source, target, **more)
    strike("renamed", str(target))


def strike(at, target):
    """Carry out the faults that await this file at this moment."""
    file = Path(os.environ.get(FAULTS, ""))
    if not file.is_file():
        return
    for number, fault in enumerate(json.loads(file.read_text())):
        for name, value in fault.get("constants", {}).items():
            module, _, attribute = name.rpartition(".")
            if module in sys.modules:
                setattr(importlib.import_module(module), attribute, value)
        meant = fault.get("at") == at and re.search(fault["file"], target)
        if meant and _first(file, number, fault):
            _carry_out(fault["do"], at, target)


def _first(file, number, fault):
    """Whether this fault is still to strike; of all processes, only one is told so."""
    for time_ in range(fault.get("times", 1)):
        try:
            os.close(os.open(f"{file}.{number}.{time_}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            continue
        return True
    return False


def _carry_out(action, at, path):
    if action == "kill":
        if at == "half":
            os.truncate(path, os.path.getsize(path) // 2)
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "hang":
        time.sleep(3600)
    else:
        raise OSError(getattr(errno, action), os.strerror(getattr(errno, action)), path)
