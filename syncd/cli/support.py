"""Collect what a maintainer needs in order to find a fault, without secrets and personal data.

Each part stands alone: if one cannot be collected, the archive has its error instead, and the others.
"""

import io
import json
import platform
import zipfile
from collections.abc import Callable, Iterable
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from syncd import __version__, clock
from syncd.cli import toml
from syncd.config import explained, load
from syncd.config.origins import Setting
from syncd.errors import SyncdError
from syncd.ledger import Diagnosis, chosen
from syncd.privacy.redaction import describe, redact, redact_value

PASSES = 100  # the latest
HOME = "~"
README = f"""\
Made by `syncd support-bundle` of syncd {__version__}. It is meant for the maintainers of syncd.

about.json      versions of syncd, Python, the system and the libraries
config.toml     every key in force with its origin. Secrets are references. Addresses and the values of conditions and
                of rules are replaced
status.json     as `syncd status --json`
failures.json   the numbers of `syncd failures` by cause, without domains and examples
passes.json     the last {PASSES} passes
ledger.json     SQLite's version, the ledger's size, and the plans of its statements
schema.sql      its tables and indexes

It holds no call and no email, no name, address, subject or key. Look through it before you send it.
"""
# The texts of these may name a customer or a person, and no fault needs them.
WITHHELD = ("own_domains", "domain_aliases", "exclude_domains", "company_domains", "not_owners", "default_owner_email",
            "match", "except", "values", "identity", "username")  # fmt: skip

Parts = dict[str, Callable[[], str]]


def parts(config: Path | None, now: datetime) -> Parts:
    """Return each file of the archive by name, as a function that writes it."""

    def ledger(of: Callable[[Diagnosis], Any]) -> Callable[[], str]:
        def read() -> str:
            with chosen(load(config, secrets=False).ledger).diagnose() as diagnosis:
                return _json(of(diagnosis))

        return read

    def schema() -> str:
        with chosen(load(config, secrets=False).ledger).diagnose() as diagnosis:
            return ";\n".join([*diagnosis.schema(), ""])

    return {
        "README.txt": lambda: README,
        "about.json": lambda: _json(about()),
        "config.toml": lambda: settings(explained(config)[1]),
        "status.json": ledger(lambda diagnosis: diagnosis.status(version=__version__, now=now)),
        "failures.json": ledger(failures),
        "passes.json": ledger(lambda diagnosis: diagnosis.passes(PASSES)),
        "ledger.json": ledger(lambda diagnosis: {**diagnosis.sizes(), "plans": diagnosis.plans(now)}),
        "schema.sql": schema,
    }


def about() -> dict[str, Any]:
    """Return the versions of everything that syncd runs on."""
    libraries = sorted({*_requirements("syncd")})
    return {
        "syncd": __version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": platform.platform(),
        "machine": platform.machine(),
        "libraries": {name: _version(name) for name in libraries},
    }


def settings(found: Iterable[Setting]) -> str:
    """Return every key in force as TOML, each with its origin. What may name somebody is replaced by its size."""
    lines = []
    for each in found:
        value = _size(each.value) if {*each.key} & {*WITHHELD} and each.value else each.value
        lines.append(f"{toml.dotted(each.key)} = {toml.value(redact_value(value))}  # {each.origin}")
    return "\n".join([*lines, ""])


def failures(diagnosis: Diagnosis) -> list[dict[str, Any]]:
    """Return the number of failing activities by state and cause, and of the domains among them."""
    return [
        {"state": each.state, "cause": each.cause, "count": each.count, "domains": len(each.domains)}
        for each in diagnosis.failures()
    ]


def archive(found: Parts, now: datetime) -> tuple[bytes, dict[str, str]]:
    """Return a ZIP archive of the parts, and the error of each that could not be collected."""
    failed: dict[str, str] = {}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, write in found.items():
            try:
                text = write()
            except Exception as error:  # noqa: BLE001 - a broken part is often why a bundle is made
                failed[name] = redact(_told(error))
                text = f"could not be collected: {failed[name]}\n"
            entry = zipfile.ZipInfo(name, now.timetuple()[:6])
            entry.external_attr = 0o600 << 16
            file.writestr(entry, _without_home(redact(text)))
    return buffer.getvalue(), failed


def default_name(now: datetime) -> str:
    """Return the archive's name, e.g. syncd-support-20260501T080000Z.zip."""
    stamp = clock.text(now).partition(".")[0].rstrip("Z").replace("-", "").replace(":", "")
    return f"syncd-support-{stamp}Z.zip"


def _told(error: Exception) -> str:
    if not isinstance(error, SyncdError):
        return describe(error)
    return "; ".join([error.message, *(_mistake(each.path, each.message) for each in getattr(error, "problems", ()))])


def _mistake(path: str, message: str) -> str:
    """Return a mistake in the configuration. Of a key that may name somebody, only that it is invalid."""
    names = path.split(".")
    for number, name in enumerate(names, 1):
        if name.partition("[")[0] in WITHHELD:
            return f"{'.'.join(names[:number])}: invalid"
    return f"{path}: {message}"


def _json(value: Any) -> str:
    return json.dumps(redact_value(value), indent=2) + "\n"


def _size(value: Any) -> str:
    return f"({len(value)} entries)" if isinstance(value, (list, dict)) else "(set)"


def _without_home(text: str) -> str:
    """Replace the path of the home directory, because it often is a person's name."""
    home = str(Path.home())
    return text if home == "/" else text.replace(home, HOME)


def _requirements(package: str) -> Iterable[str]:
    for line in metadata.requires(package) or ():
        if "extra ==" not in line:
            yield line.partition(";")[0].strip().replace("[crypto]", "").split(">")[0].split("<")[0].split("=")[0]


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
