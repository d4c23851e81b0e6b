"""Route the requests of the page to its answers."""

from collections.abc import Awaitable, Callable
from functools import partial

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from syncd.web.answers import Answer, Answers
from syncd.web.pace import Pace
from syncd.web.security import Access, Guard, policy

PER_SECOND = 10.0  # requests; one takes about a millisecond, so that passes keep nearly all of the processor
BURST = 20
MOST_WAIT_S = 5.0  # for its turn; a request that would wait longer is refused with 503
OPENMETRICS = "application/openmetrics-text"

Endpoint = Callable[[Request], Awaitable[Response]]


def application(answers: Answers, access: Access) -> Guard:
    """Return the application, behind its guard."""
    routes = [
        Route("/", _of(lambda request: answers.page())),
        Route("/activity", _of(lambda request: answers.activity(request.query_params.get("id", "")))),
        Route("/metrics", _of(lambda request: answers.metrics(openmetrics=_wants_openmetrics(request)))),
        Route("/livez", _of(lambda request: answers.probe("alive"))),
        Route("/readyz", _of(lambda request: answers.probe("ready"))),
        Route("/icon.svg", _of(lambda request: answers.icon())),
    ]

    async def unknown(_request: Request, _error: Exception) -> Response:
        return _response(answers.message(404, "No such page", "The status page is at /."))

    app = Starlette(routes=routes, exception_handlers={HTTPException: unknown})
    return Guard(
        app, access, policy(answers.style_hash), partial(Pace, PER_SECOND, burst=BURST, most_wait_s=MOST_WAIT_S)
    )


def _of(answer: Callable[[Request], Awaitable[Answer]]) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        return _response(await answer(request))

    return endpoint


def _response(answer: Answer) -> Response:
    return Response(answer.body, answer.status, media_type=answer.media_type)


def _wants_openmetrics(request: Request) -> bool:
    return OPENMETRICS in request.headers.get("accept", "")


__all__ = ["application"]
