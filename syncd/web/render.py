"""Write pages as HTML. Every text is escaped, and the only style is the package's own."""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from syncd import __version__
from syncd.reporting.times import Times
from syncd.text import visible

_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)\.\d{3}Z")  # as the ledger writes it


def code(text: object) -> Markup:
    """Return a text with each command in backticks as <code>, and each time without its fraction.

    Control characters are shown escaped.
    """
    parts = _TIME.sub(r"\1 \2", visible(text)).split("`")
    if len(parts) % 2 == 0:  # a backtick without its other one
        return escape("`".join(parts))
    marked = [Markup("<code>{}</code>").format(part) if place % 2 else escape(part) for place, part in enumerate(parts)]
    return Markup("").join(marked)


def number(count: int) -> str:
    """Return a count with separators, e.g. 1,234,567."""
    return f"{count:,}"


class Renderer:
    """Fill the templates. Each method returns a whole page in UTF-8."""

    def __init__(self) -> None:
        self._pages = Environment(
            loader=PackageLoader("syncd.web"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
            lstrip_blocks=True, auto_reload=False,
        )  # fmt: skip
        style = self._source("style.css")
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        self.style_hash = f"sha256-{digest}"  # for the Content-Security-Policy
        self.icon = self._source("icon.svg").encode()
        self._pages.filters |= {"code": code, "number": number, "visible": visible}
        self._pages.globals |= {"style": Markup(style), "version": __version__}  # nosec B704 # our own file

    def status(self, page: Mapping[str, Any]) -> bytes:
        """Return the page at /. `page` is of `view.page`."""
        return self._filled("status.html", **page)

    def activity(self, page: Mapping[str, Any]) -> bytes:
        """Return the explanation of one activity. `page` is of `view.activity`."""
        return self._filled("activity.html", **page)

    def choice(self, names: Sequence[str]) -> bytes:
        """Return a page with links to the activities that one CRM id names."""
        return self._filled("choice.html", names=names)

    def message(self, title: str, text: str) -> bytes:
        """Return a page that only says `text`."""
        return self._filled("message.html", title=title, text=text)

    def failure(self, message: str, hint: str, times: Times) -> bytes:
        """Return the page at / if the ledger cannot be read."""
        return self._filled("failure.html", message=message, hint=hint, at=times.now.strftime("%Y-%m-%d %H:%M:%S"))

    def _source(self, name: str) -> str:
        loader = self._pages.loader
        assert loader is not None
        return loader.get_source(self._pages, name)[0]

    def _filled(self, name: str, /, **values: Any) -> bytes:
        return self._pages.get_template(name).render(values).encode("utf-8", "replace")


__all__ = ["Renderer", "code", "number"]
