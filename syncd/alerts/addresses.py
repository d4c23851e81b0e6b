"""Send a message to one address through Apprise. Only this module imports it, at the first message.

Apprise bounds each connection and read (4 s), but not a whole exchange. So each address has a thread of its own, and
is asked again only after that has ended.
"""

import hashlib
import logging
import threading
import warnings
from collections.abc import Sequence
from typing import Any

from syncd.alerts.state import Message
from syncd.privacy.redaction import redact
from syncd.types.secrets import Secret

DEADLINE_S = 20.0  # of one message


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
        kind = "warning" if message.begins else "success"
        try:
            taken = service.notify(title=redact(message.title), body=redact(message.body), notify_type=kind)
        except Exception as error:  # noqa: BLE001 - as above
            return f"Apprise failed: {type(error).__name__}"
        return "" if taken else "the service did not take it"


def digest(reference: Secret) -> str:
    """Return a short name of a reference, by which the ledger knows the address."""
    return hashlib.sha256(str(reference).encode()).hexdigest()[:12]


def addresses(references: Sequence[Secret]) -> list[Address]:
    """Return the addresses, each reference once."""
    return [Address(place, reference) for place, reference in enumerate(dict.fromkeys(references))]


def _service(address: str) -> Any:
    """Return Apprise's service for an address, or the reason why there is none."""
    # Apprise 2.3 imports imghdr, which Python 3.13 lacks, if there is one. It loads all services at the first address.
    warnings.filterwarnings("ignore", "'imghdr' is deprecated", DeprecationWarning)
    import apprise

    logger = logging.getLogger("apprise")  # its lines name hosts and topics
    logger.propagate = False
    logger.addHandler(logging.NullHandler()) if not logger.handlers else None
    asset = apprise.AppriseAsset(app_id="syncd", app_desc="syncd", app_url="", async_mode=False, image_url_mask="",
                                 image_url_logo="")  # fmt: skip
    service = apprise.Apprise.instantiate(address, asset=asset, suppress_exceptions=True)
    if service is None:
        return "holds no address that Apprise knows: its wiki lists the form of each service"
    return service if service.verify_certificate else "has verify=no: certificates are always verified"


__all__ = ["DEADLINE_S", "Address", "addresses", "digest"]
