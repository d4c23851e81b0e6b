"""Salesforce's client, steered: the one module that imports simple-salesforce, requests and urllib3.

It is imported when the first request is made. What simple-salesforce 1.12.10 (its newest,
2026-07) does not do is done here, by a session of requests that it is given:
- a deadline over the whole answer: it has none, and urllib3's starts anew with every byte;
- answers as they come, whatever their status: its own errors carry the query in their
  text, and its repeat after a 401 is one for each thread, and trips over HTML;
- bodies as they are: it parses them slowly, and asks for prettier, larger ones;
- a CA beside the system's, whatever REQUESTS_CA_BUNDLE says, which else outdoes both;
- the proxy that the environment names, but for loopback.
"""

import ssl
from collections.abc import Callable
from http.cookiejar import DefaultCookiePolicy
from importlib.metadata import version
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import InvalidProxyURL, InvalidSchema, InvalidURL
from simple_salesforce.api import Salesforce
from urllib3 import Timeout
from urllib3.exceptions import HTTPError, LocationValueError

from connectors.salesforce.retry import STATUS_PAGE
from connectors.salesforce.signin import Session, TokenRequest
from syncd.exchange import Answer, Lost
from syncd.pools import POOLS, PROXY, lost
from syncd.proxies import proxy_for

OUT_OF_TIME = (9, 10)  # OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID, _CERT_HAS_EXPIRED
OTHER_HOST = (62, 64)  # _HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH
AGENT = f"syncd simple-salesforce/{version('simple-salesforce')}"


class Wire:
    """The connections of one pass, whatever session they are used with."""

    def __init__(self, *, ca_file: str, timeout_s: float) -> None:
        """Read the certificates; Lost where that fails."""
        self._http = _Http(_trust(ca_file), ca_file=ca_file, timeout_s=timeout_s)

    def token(self, asked: TokenRequest) -> Answer:
        """Ask for a session."""
        return self._http.answer(lambda: self._http.request("POST", asked.url, data=asked.form), "login_url", asked.url)

    def org(self, session: Session, api_version: str) -> "Org":
        """Return the way to the org that `session` opens."""
        return Org(self._http, session, api_version)

    def close(self) -> None:
        self._http.close()


class Org:
    """Requests to one org with one session; every method may raise Lost."""

    def __init__(self, http: "_Http", session: Session, api_version: str) -> None:
        self.session = session
        self._http = http
        self._client = Salesforce(
            session_id=session.id, instance_url=session.instance_url, version=api_version, session=http
        )
        del self._client.headers["X-PrettyPrint"]

    def query(self, soql: str, *, deleted_too: bool) -> Answer:
        return self._answer(lambda: self._client.query(soql, include_deleted=deleted_too))

    def more(self, next_records_url: str) -> Answer:
        return self._answer(lambda: self._client.query_more(next_records_url, identifier_is_url=True))

    def get(self, path: str) -> Answer:
        return self._answer(lambda: self._client.restful(path))

    def post(self, path: str, body: dict[str, Any]) -> Answer:
        return self._answer(lambda: self._client.restful(path, method="POST", json=body))

    def _answer(self, request: Callable[[], object]) -> Answer:
        return self._http.answer(request, "instance_url", self.session.instance_url)


class _Answered(Exception):
    """Carries every answer past simple-salesforce, to whom nothing of it matters."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


class _Http(requests.Session):
    def __init__(self, trust: ssl.SSLContext, *, ca_file: str, timeout_s: float) -> None:
        super().__init__()
        self._timeout_s = timeout_s
        self._ca_file = ca_file  # for messages
        self.trust_env = False  # no .netrc, whose login would replace the token; no REQUESTS_CA_BUNDLE
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.headers.update({"User-Agent": AGENT, "Accept": "application/json", "Accept-Encoding": "gzip"})
        self.mount("https://", _Adapter(trust))

    def request(self, method: Any, url: Any, *args: Any, **kwargs: Any) -> requests.Response:
        """Raise _Answered in any case; a redirect is never followed: it would carry the token elsewhere."""
        proxy = proxy_for(url)
        kwargs |= {"timeout": Timeout(total=self._timeout_s), "allow_redirects": False}
        kwargs |= {"proxies": {"https": proxy} if proxy else None}
        response = super().request(method, url, *args, **kwargs)
        headers = {name.lower(): value for name, value in response.headers.items()}
        raise _Answered(Answer(response.status_code, headers, response.content))

    def answer(self, request: Callable[[], object], address: str, url: str) -> Answer:
        """Return what a request to `url` was answered; `address` is the configuration's name for that."""
        try:
            request()
        except _Answered as answered:
            return answered.answer
        except (InvalidProxyURL, InvalidSchema):
            raise Lost("the proxy's address is none that can be used", hint=f"check {PROXY}", again=False) from None
        except (HTTPError, OSError) as error:  # requests' errors are OSErrors; their text holds the whole address
            proxied = proxy_for(url) is not None
            cause = LocationValueError() if isinstance(error, InvalidURL) else error
            raise _distrust(error, address, self._ca_file) or lost(
                cause, address=address, proxied=proxied, timeout_s=self._timeout_s, status_page=STATUS_PAGE
            ) from None
        raise AssertionError("simple-salesforce answered a request without making it")


class _Adapter(HTTPAdapter):
    """requests' adapter with our certificates and our deadline."""

    def __init__(self, trust: ssl.SSLContext) -> None:
        self._trust = trust
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, ssl_context=self._trust)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs, ssl_context=self._trust)
        manager.pool_classes_by_scheme = POOLS
        return manager

    def cert_verify(self, *_: Any) -> None:
        """Leave the connection as it is: requests would add its own certificates to `trust`, at each request."""


def _trust(ca_file: str) -> ssl.SSLContext:
    trust = ssl.create_default_context()
    if ca_file:
        try:
            trust.load_verify_locations(ca_file)
        except OSError as error:  # ssl's too
            why = "holds no certificate" if isinstance(error, ssl.SSLError) else "cannot be read"
            hint = f"expected certificates in PEM form: {ca_file}"
            raise Lost(f"the file of ca_file {why}", hint=hint, again=False) from None
    return trust


def _distrust(error: BaseException | None, address: str, ca_file: str) -> Lost | None:
    """Say that a certificate is not trusted, where that is what an error came from."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__context__
    if error is None:
        return None
    if error.verify_code in OUT_OF_TIME:
        hint = "it has expired, or this machine's clock is wrong"
    elif error.verify_code in OTHER_HOST:
        hint = f"it is another host's: check {address}"
    elif ca_file:
        hint = f"neither the system's CAs nor the one in {ca_file} (ca_file) have signed it: is it the right one?"
    else:
        hint = "name the CA of the proxy or test org that stands in for Salesforce in ca_file, a PEM file"
    return Lost("the server's certificate is not trusted", hint=hint, again=False)
