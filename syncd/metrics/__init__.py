"""Show the ledger's kept counts to Prometheus, in its text format or in OpenMetrics.

    ledger ─► gather: one document ─► families: pure ─► render: bytes and their content type

Only `families` imports prometheus_client, which belongs to the extra `web`.
"""

from collections.abc import Mapping
from typing import Any

from syncd.errors import ConfigError
from syncd.metrics.gathering import gather

NEEDED_BY = "`web.listen` and `syncd status --prometheus` need it: pip install 'syncd[web]'"


def render(document: Mapping[str, Any], *, openmetrics: bool) -> tuple[bytes, str]:
    """Return the metrics of a document of `gather`, and their content type. Pure.

    OpenMetrics if the request accepts it, otherwise Prometheus's text format 0.0.4. ConfigError if prometheus_client
    is not installed.
    """
    try:
        from syncd.metrics import families
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "prometheus_client":
            raise
        raise ConfigError(message="the package prometheus_client is not installed", hint=NEEDED_BY) from error
    return families.exposition(document, openmetrics=openmetrics)


__all__ = ["gather", "render"]
