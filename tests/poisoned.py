"""Make a stand-in fail for one id, whatever else the request holds, as a CRM does that cannot serve one record."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast
from urllib.parse import unquote_plus

import pytest

from syncd.sandbox.standin.server import Request, Response

BROKEN = {"status": "error", "message": "Internal Server Error"}


@contextmanager
def poisoned(
    crm: Any, *texts: str, path: str = "", status: int = 500, body: Any = BROKEN, answers: bool = False
) -> Iterator[list[str]]:
    """Fail each request of stand-in `crm` to a path with `path` that names one of `texts`. Yield the failed paths.

    With `answers`, a request fails if its answer would name one of them.
    """
    failed: list[str] = []
    answer = crm.answer

    def poisoned_answer(request: Request) -> Response:
        if path not in request.path:
            return cast("Response", answer(request))
        found: Response | None = answer(request) if answers else None
        asked = f"{unquote_plus(request.target)} {request.body.decode('utf-8', 'replace')}"
        said = asked if found is None else found.encoded().decode()
        if any(text in said for text in texts):
            failed.append(request.path)
            return Response(status, body)
        return cast("Response", found or answer(request))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(crm, "answer", poisoned_answer)
        yield failed


__all__ = ["poisoned"]
