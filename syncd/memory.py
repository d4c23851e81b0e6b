"""Keep the daemon's memory small between passes, which glibc's allocator does not do by itself.

Measured over 20,000 calls in one pass: 97 MiB stayed resident, 82 MiB with the first two functions. glibc gives each
thread its own arena, and memory freed there stays in that arena. Without glibc both functions do nothing.
"""

import ctypes
import gc
from contextlib import suppress

M_ARENA_MAX = -8  # mallopt(3), from glibc's malloc.h


def share_one_arena() -> None:
    """Let all threads allocate from one arena. Call it before they start. Python's lock keeps them apart anyway."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


def give_back() -> None:
    """Return free memory to the system. Takes about 50 ms."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def collect_less_often() -> None:
    """Run the garbage collector less often. It took a tenth of a pass's CPU (measured) and found no garbage.

    Records come and go by the hundred thousand, and none is in a cycle. Call it once a process, after the imports:
    objects that exist by then are never collected.
    """
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)
