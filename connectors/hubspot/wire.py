"""Adapt HubSpot's SDK. Only this module imports it and urllib3, for the first request.

It adds six things that hubspot-api-client 12.0.0 (its newest, 2025-05) does not do:
- dated paths: it knows /crm/v3 and /crm/v4 only, which end in 2027 (HubSpot changelog, 2026);
- one connection pool: each `client.crm.…` access builds another (api_factory shares ours);
- raw bodies: its models take 20 times the CPU of json.loads (measured, 200 rows);
- a deadline over the whole answer: urllib3's read timeout restarts with every byte;
- the proxy that the environment names (HTTPS_PROXY, NO_PROXY);
- the certificates that syncd.http.tls trusts.

urllib3 2.6.0 breaks the SDK (no getheader; issue HubSpot/hubspot-api-python#460): >=2.6.1,<3.
"""

import re
import ssl
from collections.abc import Callable
from functools import cached_property
from importlib.metadata import version
from typing import Any

import urllib3
from hubspot import HubSpot as Sdk
from hubspot.crm import objects
from urllib3.exceptions import HTTPError

from connectors.hubspot.retry import STATUS_PAGE
from syncd.errors import Malformed
from syncd.http.proxies import proxy_for
from syncd.http.response import Response, TransportError
from syncd.http.tls import Trust
from syncd.http.urllib3_deadline import POOLS, transport_error

UNDATED = re.compile(r"^/crm/v\d/(objects|associations|owners)(?=/|$)")


class Wire:
    """Send requests to one portal over one pool. The constructor may raise ConfigError, each method TransportError."""

    def __init__(self, *, base_url: str, token: str, trust: Trust, api_version: str, timeout_s: float) -> None:
        configuration = objects.Configuration()
        configuration.host = base_url
        configuration.access_token = token
        configuration.connection_pool_maxsize = 4  # one searches while others hydrate
        # Our policy decides (retry.py). A redirect is never followed: it would carry the token elsewhere.
        configuration.retries = urllib3.Retry(0, redirect=False)
        self._proxy = proxy_for(base_url)
        if self._proxy:
            configuration.proxy, configuration.proxy_headers = self._proxy.url, dict(self._proxy.headers)
        context = trust.context(base_url)
        self._client = _Client(configuration, context=context, api_version=api_version, timeout_s=timeout_s)
        self._trust = trust
        self._version = api_version
        self._timeout_s = timeout_s
        self._sdk = Sdk(access_token=token, api_factory=lambda package, name, _: getattr(package, name)(self._client))

    def search(self, object_type: str, body: dict[str, Any]) -> Response:
        """Search objects of one type."""
        return self._send(lambda: self._search.do_search(object_type, body))

    def batch_read(self, object_type: str, body: dict[str, Any]) -> Response:
        """Read objects of one type by id."""
        return self._send(lambda: self._batch.read(object_type, body))

    def associations(self, from_type: str, to_type: str, body: dict[str, Any]) -> Response:
        """Read the associations of objects."""
        return self._send(lambda: self._associations.get_page(from_type, to_type, body))

    def owners(self, **query: Any) -> Response:
        """Read one page of owners."""
        return self._send(lambda: self._owners.get_page(**query))

    def get(self, path: str) -> Response:
        """Get a path that the SDK has no method for. Unlike its api_request, this uses the same pool."""
        path = path.format(version=self._version)
        header = {"Accept": "application/json"}
        return self._send(lambda: self._client.call_api(path, "GET", None, [], header, auth_settings=["oauth2"]))

    def close(self) -> None:
        """Close the connection."""
        self._client.rest_client.pool_manager.clear()
        self._client.close()

    @cached_property
    def _search(self) -> Any:
        return self._sdk.crm.objects.search_api

    @cached_property
    def _batch(self) -> Any:
        return self._sdk.crm.objects.batch_api

    @cached_property
    def _associations(self) -> Any:
        return self._sdk.crm.associations.v4.batch_api

    @cached_property
    def _owners(self) -> Any:
        return self._sdk.crm.owners.owners_api

    def _send(self, request: Callable[[], Any]) -> Response:
        try:
            answer: Response = request()
        except Malformed as error:
            raise TransportError(error.message, hint=error.hint, malformed=True) from None
        except (HTTPError, OSError) as error:
            raise transport_error(
                error,
                address="base_url",
                trust=self._trust,
                proxy=self._proxy,
                timeout_s=self._timeout_s,
                status_page=STATUS_PAGE,
            ) from None  # its text holds the whole address
        return answer


def dated(path: str, api_version: str) -> str:
    """Return the SDK's path in a dated version, without the trailing slash of its owners path."""
    return UNDATED.sub(rf"/crm/\1/{api_version}", path).rstrip("/")


class _Client(objects.ApiClient):  # type: ignore[misc]  # the SDK is published without types
    """Give the SDK's client dated paths, a deadline, and unparsed answers of any status."""

    def __init__(self, configuration: Any, *, context: ssl.SSLContext, api_version: str, timeout_s: float) -> None:
        super().__init__(configuration)
        self._api_version = api_version
        self._timeout_s = timeout_s
        self.user_agent = f"syncd hubspot-api-client-python; {version('hubspot-api-client')}"
        self.set_default_header("Accept-Encoding", "gzip")
        self.rest_client.pool_manager.pool_classes_by_scheme = POOLS
        self.rest_client.pool_manager.connection_pool_kw["ssl_context"] = context

    def sanitize_for_serialization(self, obj: Any) -> Any:
        """Return `obj` unchanged. It is plain JSON, and the SDK's walk over 1,000 inputs takes 3 ms."""
        return obj

    def call_api(self, resource_path: str, method: str, *args: Any, **kwargs: Any) -> Any:
        kwargs.update(_preload_content=False, _request_timeout=self._timeout_s)
        return super().call_api(dated(resource_path, self._api_version), method, *args, **kwargs)

    def request(self, *args: Any, **kwargs: Any) -> Response:
        try:
            response = super().request(*args, **kwargs)
        except objects.ApiException as error:
            return _answer(error.status, error.headers, error.body)
        return _answer(response.status, response.headers, response.data)


def _answer(status: int, headers: Any, body: bytes | None) -> Response:
    return Response(status, {name.lower(): value for name, value in headers.items()}, body or b"")
