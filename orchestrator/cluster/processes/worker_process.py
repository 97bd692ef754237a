"""Setup of a training or measuring process before its first tensor."""

from __future__ import annotations

import ctypes
import sys

import torch

# Names and numbers of glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
_LARGEST_INT = 2**31 - 1


def prepare_process(threads: int) -> None:
    """Set this process's thread count and make it keep freed memory.

    By default, glibc returns every large freed block to the kernel, so each activation of each
    pass is paged in again. This takes up to half the time of a convolution on a CPU. The memory
    kept is at most the process's own peak.

    Args:
        threads: Threads per torch operation.
    """
    torch.set_num_threads(threads)
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has no mallopt.
        if mallopt is not None:
            mallopt(_M_MMAP_MAX, 0)
            mallopt(_M_TRIM_THRESHOLD, _LARGEST_INT)
