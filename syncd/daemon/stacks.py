"""Show the stack of each thread, to find out why a pass is stuck. It holds no values of variables."""

import sys
import threading
import traceback
from pathlib import PurePath

INNERMOST = 40  # frames of a thread that are shown; an SDK needs a dozen for one request


def thread_stacks() -> dict[str, list[str]]:
    """Return the frames of each other thread by the thread's name, the innermost first."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return {
        names.get(ident, str(ident)): [_place(frame) for frame in reversed(traceback.extract_stack(stack)[-INNERMOST:])]
        for ident, stack in sys._current_frames().items()
        if ident != threading.get_ident()
    }


def _place(frame: traceback.FrameSummary) -> str:
    return f"{PurePath(*PurePath(frame.filename).parts[-2:])}:{frame.lineno} {frame.name}"
