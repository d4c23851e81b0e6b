"""Make a stand-in fail for one id, whatever else the request holds, as a CRM does that cannot serve one record."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote_plus

import pytest

from syncd.sandbox.standin.server import Request, Response

BROKEN = {"status": "error", "message": "Internal Server Error"}


@contextmanager
def poisoned(crm: Any, *texts: str, path: str = "", status: int = 500, body: Any = BROKEN) -> Iterator[list[str]]:
    """Fail each request of stand-in `crm` to a path with `path` that names one of `texts`. Yield the failed paths."""
    failed: list[str] = []
    answer = crm.answer

    def poisoned_answer(request: Request) -> Response:
        said = f"{unquote_plus(request.target)} {request.body.decode('utf-8', 'replace')}"
        if path in request.path and any(f"{text}" in said for text in texts):
            failed.append(request.path)
            return Response(status, body)
        found: Response = answer(request)
        return found

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(crm, "answer", poisoned_answer)
        yield failed


__all__ = ["poisoned"]
