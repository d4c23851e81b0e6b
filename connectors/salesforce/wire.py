"""Adapt Salesforce's client. Only this module imports simple-salesforce, requests and urllib3.

It is imported for the first request. It gives simple-salesforce 1.12.10 (its newest, 2026-07) a requests session, which
adds:
- a deadline over the whole answer: it has none, and urllib3's restarts with every byte;
- unparsed answers of any status: its own errors quote the query, and its retry after a 401 is one per thread and fails
  on HTML;
- raw bodies: it parses them slowly, and requests pretty-printed, larger ones;
- the certificates that syncd.http.tls trusts: requests would take REQUESTS_CA_BUNDLE or its own;
- the proxy that the environment names, except for loopback.
"""

import ssl
from collections.abc import Callable
from dataclasses import replace
from http.cookiejar import DefaultCookiePolicy
from importlib.metadata import version
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import InvalidURL
from simple_salesforce.api import Salesforce
from urllib3 import Timeout
from urllib3.exceptions import HTTPError, LocationValueError

from connectors.salesforce.retry import STATUS_PAGE
from connectors.salesforce.signin import Session, TokenRequest
from syncd.errors import Malformed
from syncd.http.proxies import proxy_for
from syncd.http.response import Response, TransportError
from syncd.http.tls import Trust
from syncd.http.urllib3_deadline import POOLS, transport_error

AGENT = f"syncd simple-salesforce/{version('simple-salesforce')}"


class Wire:
    """Hold the connections of one pass, for any session."""

    def __init__(self, *, trust: Trust, timeout_s: float) -> None:
        """Read the certificates. ConfigError if that fails."""
        self._http = _Http(trust, timeout_s=timeout_s)

    def token(self, asked: TokenRequest) -> Response:
        """Request a session."""
        return self._http.answer(lambda: self._http.request("POST", asked.url, data=asked.form), "login_url", asked.url)

    def org(self, session: Session, api_version: str) -> "OrgConnection":
        """Return the connection to the org of `session`."""
        return OrgConnection(self._http, session, api_version)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


class OrgConnection:
    """Send requests to one org with one session. Every method may raise TransportError."""

    def __init__(self, http: "_Http", session: Session, api_version: str) -> None:
        self.session = session
        self._http = http
        self._client = Salesforce(
            session_id=session.id, instance_url=session.instance_url, version=api_version, session=http
        )
        del self._client.headers["X-PrettyPrint"]

    def query(self, soql: str, *, deleted_too: bool, page_rows: int | None = None) -> Response:
        """Send a query, with `deleted_too` as queryAll. Its pages have at most `page_rows`, if Salesforce complies.

        Salesforce takes 200 to 2,000 rows and counts children too (REST guide v67, Query Options Header).
        """
        headers = {"Sforce-Query-Options": f"batchSize={page_rows}"} if page_rows else {}
        return self._answer(lambda: self._client.query(soql, include_deleted=deleted_too, headers=headers))

    def more(self, next_records_url: str) -> Response:
        """Get a further page of a query."""
        return self._answer(lambda: self._client.query_more(next_records_url, identifier_is_url=True))

    def get(self, path: str) -> Response:
        """Get a path below the API version."""
        return self._answer(lambda: self._client.restful(path))

    def post(self, path: str, body: dict[str, Any]) -> Response:
        """Post JSON to a path below the API version."""
        return self._answer(lambda: self._client.restful(path, method="POST", json=body))

    def _answer(self, request: Callable[[], object]) -> Response:
        return self._http.answer(request, "instance_url", self.session.instance_url)


class _Answered(Exception):
    """Carry every answer past simple-salesforce, so that it interprets none."""

    def __init__(self, answer: Response) -> None:
        super().__init__()
        self.answer = answer


class _Http(requests.Session):
    def __init__(self, trust: Trust, *, timeout_s: float) -> None:
        super().__init__()
        self._timeout_s = timeout_s
        self._trust = trust
        self.trust_env = False  # no .netrc, whose login would replace the token; no REQUESTS_CA_BUNDLE
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.headers.update({"User-Agent": AGENT, "Accept": "application/json", "Accept-Encoding": "gzip"})
        self.adapters.clear()  # no plain http
        self._adapter = _Adapter(trust.context("https:"))
        self.mount("https://", self._adapter)

    def request(self, method: Any, url: Any, *args: Any, **kwargs: Any) -> requests.Response:
        """Raise _Answered in any case. A redirect is never followed, because it would send the token elsewhere."""
        proxy = proxy_for(url)
        kwargs |= {"timeout": Timeout(total=self._timeout_s), "allow_redirects": False, "verify": True}
        kwargs |= {"proxies": {"https": proxy.url} if proxy else None}
        self._adapter.headers_of_proxy = dict(proxy.headers) if proxy else {}
        response = super().request(method, url, *args, **kwargs)
        headers = {name.lower(): value for name, value in response.headers.items()}
        raise _Answered(Response(response.status_code, headers, response.content))

    def answer(self, request: Callable[[], object], address: str, url: str) -> Response:
        """Return the answer to a request to `url`. `address` is its configuration key, for messages."""
        try:
            request()
        except _Answered as answered:
            return answered.answer
        except Malformed as error:
            raise TransportError(error.message, hint=error.hint, malformed=True) from None
        except (HTTPError, OSError) as error:  # requests' errors are OSErrors; their text holds the whole address
            key = f"{self._trust.address.rpartition('.')[0]}.{address}"
            raise transport_error(
                LocationValueError() if isinstance(error, InvalidURL) else error,
                address=address,
                trust=replace(self._trust, address=key),
                proxy=proxy_for(url),
                timeout_s=self._timeout_s,
                status_page=STATUS_PAGE,
            ) from None
        raise AssertionError("simple-salesforce answered a request without making it")


class _Adapter(HTTPAdapter):
    """Give requests' adapter our certificates and our deadline."""

    def __init__(self, trust: ssl.SSLContext) -> None:
        self._trust = trust
        self.headers_of_proxy: dict[str, str] = {}
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, ssl_context=self._trust)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs, ssl_context=self._trust)
        manager.pool_classes_by_scheme = POOLS
        return manager

    def proxy_headers(self, proxy: str) -> dict[str, str]:
        """Return the proxy's own headers: requests would encode a login in latin-1."""
        return self.headers_of_proxy

    def cert_verify(self, *_: Any) -> None:
        """Do nothing. requests would add its own certificates to `trust`, at each request."""
