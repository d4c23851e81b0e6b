"""Forbid core dumps and debuggers of the same user: memory holds keys and personal data."""

import resource
from contextlib import suppress

PR_SET_DUMPABLE = 4  # prctl(2)


def forbid() -> None:
    """Forbid core dumps for the life of the process, in a file or to a handler that the kernel starts.

    The limit alone does not stop a handler (core(5), "Piping core dumps to a program"). A system without prctl has
    only the limit. Never fails: an unprotected process still does its work.
    """
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(ImportError, OSError, AttributeError):
        from ctypes import CDLL  # a Python may be built without it

        CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
