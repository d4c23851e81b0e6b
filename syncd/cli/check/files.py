"""Warn about files that others may read or write. The decisions are pure functions of stat results.

Modes count as they are, even if a directory above is closed to others today.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from syncd.config import Config, credentials
from syncd.config.reading import unsafe
from syncd.connector import Finding
from syncd.ledger import AnyLedger, chosen
from syncd.types import urls

OTHERS = stat.S_IRWXG | stat.S_IRWXO


def findings(config: Config) -> Iterator[Finding]:
    """Yield a warning for each file of syncd that others may read or write, and for plain http."""
    for path in dict.fromkeys(_key_files(config)):
        with suppress(OSError):  # a key that cannot be read has its own line
            if who := readable(path.stat()):
                yield _warning("key file", f"{path} can be read by {who}", f"chmod 600 {path}")
    with suppress(OSError):
        if why := unsafe(config.path.stat()):
            yield _warning("configuration file", f"{config.path} {why}", f"chmod go-w {config.path}")
    for path in dict.fromkeys(_ca_files(config)):
        with suppress(OSError, ValueError):  # an unreadable one is an error of the first request
            if why := unsafe(path.stat()):
                yield _warning("CA file", f"{path} {why}", f"chmod go-w {path}")
    yield from _replaceable(config)
    yield from _ledger(chosen(config.ledger))
    if config.recotap.allow_insecure_http:
        yield _plain_http(config.recotap.base_url)


def readable(status: os.stat_result) -> str:
    """Return who may use a file besides its owner, or "" if no one.

    A file of root that the caller reads as a member of its group is as expected: a Kubernetes secret with fsGroup, a
    credential of systemd.
    """
    if status.st_mode & stat.S_IRWXO:
        return "everybody"
    ours = status.st_uid == 0 != os.geteuid() and status.st_gid in (os.getegid(), *os.getgroups())
    if status.st_mode & stat.S_IRWXG and not ours:
        return f"group {status.st_gid}"
    return ""


def _key_files(config: Config) -> Iterator[Path]:
    models = (config.recotap, config.ledger, config.web, config.alerts, *(source.config for source in config.sources))
    for secret in credentials.references(models):
        with suppress(ValueError):
            if (path := secret.path()) and not (secret.scheme == "credential" and _is_closed(path.parent)):
                yield path


def _ca_files(config: Config) -> Iterator[Path]:
    for each in (config.recotap, *(source.config for source in config.sources)):
        if named := getattr(each, "ca_file", ""):
            with suppress(RuntimeError):  # an unknown ~user
                yield Path(named).expanduser()


def _replaceable(config: Config) -> Iterator[Finding]:
    """Yield a warning for each directory in which others could replace one of these files."""
    named = [("configuration file", config.path)]
    named += [("key file", path) for path in _key_files(config)] + [("CA file", path) for path in _ca_files(config)]
    seen = {chosen(config.ledger).folder()}  # has its own line
    for what, path in named:
        with suppress(OSError, ValueError, RuntimeError):
            for directory in dict.fromkeys((*path.absolute().parents, *path.resolve(strict=True).parents)):
                if directory not in seen and (why := _can_be_written(directory)):
                    yield _warning(what, f"{path} can be replaced: {directory} {why}", f"chmod go-w {directory}")
                seen.add(directory)


def _can_be_written(directory: Path) -> str:
    """Return who may replace files in a directory, or "" if no one. If it is sticky, only a file's owner may."""
    status = directory.stat()
    why = unsafe(status)
    return why if why.startswith("can be") and not status.st_mode & stat.S_ISVTX else ""


def _is_closed(directory: Path) -> bool:
    """Return True if others cannot enter a directory. An ACL of systemd looks like a right of the group."""
    try:
        return not directory.stat().st_mode & stat.S_IRWXO
    except OSError:
        return False


def _ledger(ledger: AnyLedger) -> Iterator[Finding]:
    for each, harm in ledger.private_files().items():
        with suppress(OSError):
            status = each.lstat()
            if stat.S_ISREG(status.st_mode) and status.st_mode & OTHERS:
                message = f"{each} has mode {stat.S_IMODE(status.st_mode):04o}, expected 0600: {harm}"
                yield _warning("ledger", message, f"chmod 600 {each}")
    with suppress(OSError):
        if (folder := ledger.folder()) and (why := _can_be_written(folder)):
            message = f"its directory {folder} {why}: they can replace the ledger"
            yield _warning("ledger", message, f"chmod go-w {folder}")


def _plain_http(base_url: str) -> Finding:
    message = "allow_insecure_http = true: plain http would be accepted"
    if urls.is_insecure(base_url):
        message = "allow_insecure_http = true: the key and people's data go over the network unencrypted"
    return _warning("recotap.base_url", message, "use https:// and remove allow_insecure_http")


def _warning(what: str, message: str, hint: str) -> Finding:
    return Finding(what, False, message, hint, warning=True)
