"""Make glibc keep the memory that training frees and asks for again at every step.

By default glibc returns each large tensor to the kernel and faults its pages in anew, at every
step.
"""

from __future__ import annotations

import ctypes
import platform

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_MMAP_MAX = -4


def keep_freed_memory() -> bool:
    """Ask glibc's allocator to reuse large blocks; False where there is no glibc."""
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    calls = ((_M_TRIM_THRESHOLD, 2**31 - 1), (_M_MMAP_THRESHOLD, 2**30), (_M_MMAP_MAX, 0))
    return all(libc.mallopt(option, value) == 1 for option, value in calls)
