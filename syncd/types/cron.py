"""Check cron expressions as crontab(5) defines them, before the daemon runs. Pure."""

import re

MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
DAYS = "sun mon tue wed thu fri sat".split()
CRON_FIELDS: tuple[tuple[str, int, int, list[str]], ...] = (
    ("minute", 0, 59, []),
    ("hour", 0, 23, []),
    ("day", 1, 31, []),
    ("month", 1, 12, MONTHS),
    ("weekday", 0, 7, DAYS),  # 0 and 7 are Sunday, as in crontab(5)
)


def checked(text: str) -> str:
    """Return `text` with single spaces. ValueError names the invalid field and its allowed values."""
    fields = text.split()
    if len(fields) != len(CRON_FIELDS):
        raise ValueError('expected five fields (minute hour day month weekday), e.g. "*/5 * * * *"')
    for written, (name, least, most, names) in zip(fields, CRON_FIELDS, strict=True):
        if not all(_is_cron_part(part.lower(), least, most, names) for part in written.split(",")):
            raise ValueError(f"expected the {name} as * or {least} to {most}, with - , and / as in cron")
    return " ".join(fields)


def _is_cron_part(part: str, least: int, most: int, names: list[str]) -> bool:
    match = re.fullmatch(r"(?:\*|(\w+)(?:-(\w+))?)(?:/([1-9]\d?))?", part, re.ASCII)
    if match is None:
        return False
    ends = [names.index(end) + least if end in names else end for end in match.groups()[:2] if end]
    if not all(str(end).isdecimal() and least <= int(end) <= most for end in ends):
        return False
    return len(ends) < 2 or int(ends[0]) <= int(ends[1])
