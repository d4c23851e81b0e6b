"""Send a message to one address through Apprise. Only this module imports it, at the first message.

Apprise bounds each connection and read (4 s), but not a whole exchange. So each address has a thread of its own, and
is asked again only after that has ended.
"""

import hashlib
import logging
import pkgutil
import re
import threading
import warnings
from collections.abc import Sequence
from typing import Any

from syncd.alerts.state import Message
from syncd.http.tls import system_bundle
from syncd.privacy.redaction import redact
from syncd.types.secrets import Secret

DEADLINE_S = 20.0  # of one message
HTTP_ERROR = re.compile(r"\berror=([1-5][0-9]{2})\b")  # how Apprise logs a status
NOT_TAKEN = "the service did not take it"
NOT_REACHED = "no connection to the service, no answer from it, or its certificate is not trusted"

# The services in common use, by scheme. Each is loaded alone: 9 MiB and 0.2 s of CPU, beside 27 MiB and 0.4 s for all
# 190 of Apprise 2.3, which any other scheme loads. Apprise itself has no way to load one (measured in the daemon).
PLUGINS = {
    "discord": "discord:NotifyDiscord",
    "gchat": "google_chat:NotifyGoogleChat",
    "json": "custom_json:NotifyJSON",
    "jsons": "custom_json:NotifyJSON",
    "mailto": "email.base:NotifyEmail",
    "mailtos": "email.base:NotifyEmail",
    "mmost": "mattermost:NotifyMattermost",
    "mmosts": "mattermost:NotifyMattermost",
    "ntfy": "ntfy:NotifyNtfy",
    "ntfys": "ntfy:NotifyNtfy",
    "opsgenie": "opsgenie:NotifyOpsgenie",
    "pagerduty": "pagerduty:NotifyPagerDuty",
    "pover": "pushover:NotifyPushover",
    "slack": "slack:NotifySlack",
    "tgram": "telegram:NotifyTelegram",
    "victorops": "splunk:NotifySplunk",
    "workflow": "workflows:NotifyWorkflows",
    "workflows": "workflows:NotifyWorkflows",
}


class Address:
    """One reference of `alerts.urls`. The secret is read for each message, so a new one is used at once."""

    def __init__(self, place: int, reference: Secret) -> None:
        self.key = f"alerts.urls.{place}"  # names it in logs and on the terminal
        self.digest = digest(reference)
        self._reference = reference
        self._under_way: threading.Thread | None = None

    def send(self, message: Message, *, within_s: float = DEADLINE_S) -> str:
        """Send a message, and return why it was not taken, or "". It may arrive although the deadline has passed."""
        if self._under_way and self._under_way.is_alive():
            return "the last message is still under way"
        result: list[str] = []
        self._under_way = threading.Thread(
            target=lambda: result.append(self._sent(message)), name=f"alert {self.key}", daemon=True
        )
        self._under_way.start()
        self._under_way.join(within_s)
        return result[0] if result else f"no answer within {within_s:g} s"

    def _sent(self, message: Message) -> str:
        try:
            service = _service(self._reference.read_line())
        except ValueError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - a plug-in of Apprise may raise anything
            return f"Apprise failed: {type(error).__name__}"
        if isinstance(service, str):
            return service
        try:
            return _notified(service, message)
        except Exception as error:  # noqa: BLE001 - as above
            return f"Apprise failed: {type(error).__name__}"


def digest(reference: Secret) -> str:
    """Return a short name of a reference, by which the ledger knows the address."""
    return hashlib.sha256(str(reference).encode()).hexdigest()[:12]


def addresses(references: Sequence[Secret]) -> list[Address]:
    """Return the addresses, each reference once."""
    return [Address(place, reference) for place, reference in enumerate(dict.fromkeys(references))]


def _notified(service: Any, message: Message) -> str:
    """Send, and return why the service did not take it, or ""."""
    import apprise

    sender = apprise.Apprise(asset=service.asset)
    sender.add(service)
    kind = "warning" if message.begins else "success"
    # Without a format, a service that takes HTML would get the text as HTML: without its lines.
    taken = sender.notify(title=redact(message.title), body=redact(message.body), notify_type=kind, body_format="text")
    return "" if taken else _reason(taken)


def _reason(result: Any) -> str:
    """Return why the service did not take it. Apprise tells that only in its log, which names hosts and topics."""
    entries = result.logs() if hasattr(result, "logs") else ()  # since Apprise 2
    logged = " ".join(each.message for each in entries)
    if status := HTTP_ERROR.search(logged):
        return f"{NOT_TAKEN} (HTTP {status[1]})"
    return NOT_REACHED if "onnection error" in logged else NOT_TAKEN


def _service(address: str) -> Any:
    """Return Apprise's service for an address, or the reason why there is none."""
    # Apprise 2.3 imports imghdr, which Python 3.13 lacks, if there is one.
    warnings.filterwarnings("ignore", "'imghdr' is deprecated", DeprecationWarning)
    import apprise

    logger = logging.getLogger("apprise")  # its lines name hosts and topics
    logger.propagate = False
    logger.addHandler(logging.NullHandler()) if not logger.handlers else None
    asset = apprise.AppriseAsset(app_id="syncd", app_desc="syncd", app_url="", async_mode=False, image_url_mask="",
                                 image_url_logo="")  # fmt: skip
    plugin = _plugin(address.partition("://")[0].lower())
    if plugin is not None:
        service = _alone(plugin, address, asset)
    else:
        service = apprise.Apprise.instantiate(address, asset=asset, suppress_exceptions=True)
    if service is None:
        return "holds no address that Apprise knows: its wiki lists the form of each service"
    if not service.verify_certificate:
        return "has verify=no: certificates are always verified"
    # Apprise hands it to requests, which takes a path as well as True, for its own certificates.
    service.verify_certificate = system_bundle() or True
    return service


def _plugin(scheme: str) -> Any:
    """Return the class of a service in common use. None if there is none, or if this Apprise has it elsewhere."""
    try:
        return pkgutil.resolve_name(f"apprise.plugins.{PLUGINS[scheme]}")
    except (KeyError, ImportError, AttributeError):
        return None


def _alone(plugin: Any, address: str, asset: Any) -> Any:
    """Return a service, or None if `address` is invalid for it. Does as `Apprise.instantiate`, without loading all."""
    try:
        parts = plugin.parse_url(address.replace("/#", "/%23"))
        return plugin(**parts, asset=asset, tag=set()) if parts else None
    except TypeError:  # how a service refuses a part
        return None


__all__ = ["DEADLINE_S", "PLUGINS", "Address", "addresses", "digest"]
