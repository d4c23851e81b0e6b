"""Make the TLS settings of every client. Certificates are always verified.

syncd trusts the system's certificates, or those that SSL_CERT_FILE and SSL_CERT_DIR name in their place, and also the
ones in `ca_file`. Nothing else counts: not REQUESTS_CA_BUNDLE, not CURL_CA_BUNDLE, not SSLKEYLOGFILE.

The package truststore does the same on Linux, but holds one lock during each handshake. A server that hangs in one
would make every thread wait past its deadline. It also loads all certificates again for each connection (40 ms) and
ignores an invalid SSL_CERT_FILE (truststore 0.10.5, _api.py and _openssl.py).
"""

import hashlib
import os
import re
import ssl
import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from syncd import files
from syncd.errors import ConfigError, Problem

MOST_MADE = 8  # settings kept: the sources' CA files differ, and some change
MOST_BYTES = 4 * 1024 * 1024  # of a file of certificates; a system's whole store has 0.2 MiB
FILE, FOLDER = "SSL_CERT_FILE", "SSL_CERT_DIR"
# Where systems keep their certificates, for a Python built on another system (as in truststore).
BUNDLES = (
    "/etc/ssl/cert.pem",  # Alpine, Arch, Fedora, BSD, macOS
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora, RHEL
    "/etc/pki/tls/cert.pem",  # older ones
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu
    "/etc/ssl/ca-bundle.pem",  # SUSE
)
PEM = re.compile(rb"-----BEGIN (?:X509 )?CERTIFICATE-----[^-]*-----END (?:X509 )?CERTIFICATE-----")
HASHED = re.compile(r"[0-9a-f]{8}\.[0-9]+", re.IGNORECASE)  # names that OpenSSL looks for in a folder

# OpenSSL's X509_V_ERR codes
NOT_YET_VALID, EXPIRED = 9, 10
OTHER_HOST = (62, 64)  # a name, an IP address
UNKNOWN_CA = (2, 18, 19, 20, 21)


class Distrust(NamedTuple):
    """The reason why a TLS connection failed."""

    message: str
    hint: str
    lasts: bool  # a certificate: another try fails in the same way


@dataclass(frozen=True, slots=True)
class Trust:
    """The CA file of one client, and the names for its messages."""

    side: str  # e.g. HubSpot
    address: str  # the key of its address, e.g. sources.hubspot.base_url
    key: str  # the key of its CA file, e.g. sources.hubspot.ca_file
    ca_file: str = ""

    def context(self, url: str) -> ssl.SSLContext:
        """Return the settings for connections to `url`. ConfigError if a file of certificates is invalid.

        For plain http no certificate is read. A TLS connection with that result trusts no one.
        """
        return _context(self) if url.startswith("https:") else _Verifying()

    def distrust(self, error: BaseException) -> "Distrust | None":
        """Return the reason if a connection failed because of a certificate or TLS, otherwise None."""
        causes = list(_causes(error))
        for cause in causes:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return self._untrusted(cause.verify_code, cause.verify_message)
        if any(isinstance(cause, ssl.SSLError) for cause in causes):
            hint = f"check {self.address}. A proxy or a firewall may break TLS, or its certificate may be invalid"
            return Distrust("the TLS connection failed", hint, lasts=False)
        return None

    def _untrusted(self, code: int, reason: str) -> Distrust:
        said = f"{self.side}'s certificate is not trusted"
        if code == EXPIRED:
            hint = f"check this machine's clock. If it is right, {self.side} must renew it"
            return Distrust(f"{said}: it has expired", hint, lasts=True)
        if code == NOT_YET_VALID:
            return Distrust(f"{said}: it is not valid yet", "check this machine's clock", lasts=True)
        if code not in UNKNOWN_CA:
            what = "it is for another host" if code in OTHER_HOST else reason
            hint = f"check {self.address}, and whether a proxy answers in its place"
            return Distrust(f"{said}: {what}", hint, lasts=True)
        if self.ca_file:
            hint = f"name the right file in {self.key}: neither {self.ca_file} nor the system's store holds the CA"
        else:
            hint = (
                f"if a proxy of your company answers for {self.side}, add its CA certificate to the system's store, "
                f"or name its PEM file in {self.key}"
            )
        return Distrust(f"{said}: its CA is unknown", hint, lasts=True)


def system_bundle() -> str:
    """Return the file of the system's certificates, for a library that takes a path. "" if there is none."""
    named = os.environ.get(FILE, "")
    places = (named,) if named else (ssl.get_default_verify_paths().openssl_cafile, *BUNDLES)
    return next((path for path in places if _readable(path)), "")


class _Verifying(ssl.SSLContext):
    """Settings that no library can weaken. They trust no one until certificates are loaded."""

    def __new__(cls) -> "_Verifying":
        made = super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)  # verifies the certificate and the host name
        # As in Python 3.13, an intermediate CA can be trusted by itself. 3.13's VERIFY_X509_STRICT stays off, because
        # the proxies of companies often make certificates that it rejects.
        made.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        return made

    def __setattr__(self, name: str, value: Any) -> None:
        if (name == "check_hostname" and not value) or (name == "verify_mode" and value != ssl.CERT_REQUIRED):
            raise ValueError("TLS certificates are always verified")
        super().__setattr__(name, value)


@dataclass(frozen=True, slots=True)
class _System:
    """The system's certificates: the content of a file, and folders that OpenSSL searches at each handshake."""

    folders: str
    bundle: bytes = b""
    name: str = ""  # of the bundle, in messages


_made: dict[bytes, ssl.SSLContext] = {}  # loading costs 10 to 40 ms
_lock = threading.Lock()


def _context(trust: Trust) -> ssl.SSLContext:
    """Return settings by the files' content, so that a replaced file takes effect with the next pass."""
    system, own = _system(), _own(trust)
    digest = hashlib.sha256(b"\0".join((os.fsencode(system.folders), own, system.bundle))).digest()
    with _lock:
        if digest not in _made:
            if len(_made) >= MOST_MADE:
                _made.clear()
            _made[digest] = _load(system, own, trust)
        return _made[digest]


def _load(system: _System, own: bytes, trust: Trust) -> ssl.SSLContext:
    made = _Verifying()
    if system.folders:
        made.load_verify_locations(capath=system.folders)
    if system.bundle and _add(made, system.bundle) is None:
        raise _wrong(system.name, "holds no certificate")
    if own and (failed := _add(made, own)) != 0:
        what = f"{failed} certificate(s) that cannot be read" if failed else "no certificate"
        raise _wrong(trust.key, f"{trust.ca_file} holds {what}")
    return made


def _add(made: ssl.SSLContext, content: bytes) -> int | None:
    """Trust the certificates in `content`, PEM or DER. Return how many cannot be read, or None if none can."""
    blocks: list[str | bytes] = [match[0].decode("ascii", "replace") for match in PEM.finditer(content)]
    failed = 0
    for block in blocks or [content]:
        try:
            made.load_verify_locations(cadata=block)
        except (ssl.SSLError, ValueError):  # ValueError: not ASCII, or empty
            failed += 1
    return failed if failed < len(blocks or [content]) else None


def _own(trust: Trust) -> bytes:
    if not trust.ca_file:
        return b""
    try:
        return _read(Path(trust.ca_file).expanduser(), owners=files.trusted()) or b"\n"  # an empty file is a mistake
    except (OSError, ValueError, RuntimeError) as error:  # a NUL in the name, an unknown ~user
        raise _wrong(trust.key, f"{_printable(trust.ca_file)} {_why(error)}") from None


def _system() -> _System:
    """Return the system's certificates, or certifi's if it has none, as in slim containers."""
    known = ssl.get_default_verify_paths()
    named_file, named_folders = os.environ.get(FILE, ""), os.environ.get(FOLDER, "")
    folders = _useful(named_folders or known.openssl_capath)
    if named_folders and not folders and (not named_file or not _exists(named_folders)):
        raise _wrong(FOLDER, "names no directory that holds certificates")
    if named_file:
        return _System(folders, _named(named_file), FILE)
    for path in (known.openssl_cafile, *(() if folders else BUNDLES)):
        if bundle := _readable(path):
            return _System(folders, bundle, path)
    return _System(folders) if folders else _System("", _certifi(), "certifi")


def _named(path: str) -> bytes:
    try:
        return _read(Path(path)) or b"\n"
    except OSError as error:
        raise _wrong(FILE, f"names a file that {_why(error)}") from None


def _readable(path: str) -> bytes:
    """Return the content of a file of certificates, or b"" if it is missing or holds none."""
    try:
        content = _read(Path(path))
    except OSError:
        return b""
    return content if PEM.search(content) else b""


def _useful(folders: str) -> str:
    """Return those of the colon-separated `folders` that hold certificates under the names OpenSSL looks for."""
    return os.pathsep.join(folder for folder in folders.split(os.pathsep) if folder and _holds_certificates(folder))


def _holds_certificates(folder: str) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(HASHED.fullmatch(entry.name) for entry in entries)
    except OSError:
        return False


def _exists(folders: str) -> bool:
    return any(os.access(folder, os.R_OK | os.X_OK) for folder in folders.split(os.pathsep) if Path(folder).is_dir())


def _certifi() -> bytes:
    import certifi

    return Path(certifi.where()).read_bytes()


def _read(path: Path, *, owners: Collection[int] | None = None) -> bytes:
    """Return a file's content. Links are followed: Kubernetes mounts files as links."""
    return files.read(path, most=MOST_BYTES, follow=True, owners=owners)


def _why(error: Exception) -> str:
    if not isinstance(error, OSError):
        return "is not a valid path"
    return str(error.strerror) if isinstance(error, files.Refused) else f"cannot be read: {error.strerror}"


def _printable(path: str) -> str:
    return path.encode("ascii", "backslashreplace").decode() if not path.isprintable() else path


def _wrong(key: str, what: str) -> ConfigError:
    if key == FOLDER:
        hint = f"expected a directory that `openssl rehash` has prepared. Unset {FOLDER} for the system's own"
    elif key == FILE:
        hint = f"expected a file of certificates in PEM form. Unset {FILE} for the system's own"
    else:
        hint = "expected a file of certificates in PEM form that syncd's user may read. Leave the key empty for none"
    return ConfigError([Problem(key, what, hint)], where="the environment" if key in (FILE, FOLDER) else "")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes, as urllib3, requests and httpx wrap them."""
    seen: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        each = waiting.pop(0)
        if isinstance(each, BaseException) and not any(each is other for other in seen):
            seen.append(each)
            yield each
            waiting += [each.__cause__, each.__context__, getattr(each, "reason", None), *each.args]
