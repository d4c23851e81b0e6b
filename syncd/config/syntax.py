"""Say in the operator's words why a text is not TOML. Pure. No message repeats the text, which may hold a secret."""

import re

YAML = r"\s*(---|- |[A-Za-z_][\w.-]*:(\s|$))"
DATE = r"[^#]*=\s*(\d{4}-\d|\d{1,2}[:/.]\d)"
BACKSLASH = r"write a Windows path with / or in single quotes, e.g. path = 'C:\data\ledger.db'"
QUOTES = 'text stands in quotes, e.g. timeout = "30s"'
STRAIGHT = 'use straight quotes "…", not typographic ones'
TWICE = "the key or table stands twice: keep one of the two"
UNCLOSED = "a closing quote is missing"
WORDS = 'truth is written true or false, all other words in quotes, e.g. timeout = "30s"'
NEUTRAL = "compare the line with config/syncd.example.toml"

# What tomllib says, as the beginning of its message; the lines that a hint is for; the hint. The first that fits.
HINTS = (
    ("", r"[<=>|]{7}( |$)", "an unfinished merge: keep one side, and remove the lines of <<<<<<<, ======= and >>>>>>>"),
    ("", r"\s*<[?!A-Za-z]", "this is XML or HTML, not TOML: begin with config/syncd.example.toml"),
    ("Cannot (overwrite|declare|mutate)|Duplicate", "", TWICE),
    (r"Illegal character '\\n'|Unterminated|Expected (\"'|'\"|\"\"\"|''')", "", UNCLOSED),
    (r"Unescaped|Invalid hex|Escaped character", "", BACKSLASH),
    ("Illegal character", "", "a control character stands there: delete the line and type it again"),
    ("Unclosed array", "", "a list that begins with [ has no ] at its end"),
    ("Unclosed inline table", "", "a table that begins with { has no } at its end"),
    ("", "[^#]*[“”„‘’]", STRAIGHT),
    ("Expected ']", "", "a table's name stands between brackets, alone in its line: [recotap]"),
    (r"Invalid (statement|initial)|Expected '='", r"\s*(;|//|/\*|--\s)", "a comment begins with #"),
    ("Expected '='|Invalid statement", YAML, "this is YAML, not TOML: write key = value, and [table] above its keys"),
    ("Expected '='", "", 'each line is a key, a = and a value, e.g. timeout = "30s"'),
    ("Invalid statement", r"\s*=", "the name of the key is missing left of the ="),
    ("Invalid initial", r".*\{", "a table between { and } stands in one line"),
    ("Invalid value", r"[^#]*=\s*(#|$)", 'the value is missing right of the =; nothing is written ""'),
    ("Invalid value", r"[^#]*=\s*(?i:true|false|yes|no|on|off|null|none)\b", WORDS),
    ("Invalid value", "", QUOTES),
    ("Expected newline", DATE, "a time is written 2026-01-01T00:00:00Z, and must exist"),
    ("Expected newline", r"[^#]*=\s*0\d", "a number has no zeros before it"),
    ("Expected newline", r"[^#]*=\s*[\d.]+[A-Za-z%]", QUOTES),
    ("Expected newline", "", "one key = value stands in each line, and nothing behind it but a comment after #"),
)  # fmt: skip


def explain(text: str, message: str) -> tuple[int | None, str, str]:
    """Return the line (None if it is the only one), what is wrong and what to do, for an error message of tomllib."""
    what, place = message, re.fullmatch(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", message, re.DOTALL)
    lines = text.split("\n")
    number = len(text.rstrip().split("\n"))
    if place:
        what, number = place[1], int(place[2] or _begin(text, place[1]) or number)
    only = len(lines) == 1
    return None if only else number, what, _json(text) or _hint(what, lines[number - 1] if number <= len(lines) else "")


def _begin(text: str, what: str) -> int | None:
    """Return the line in which the text begins that lacks its closing quotes at the end of the document."""
    if not re.match("Unterminated|Expected", what):
        return None
    at = max(text.rfind(quotes) for quotes in ('"""', "'''"))
    return text.count("\n", 0, at) + 1 if at >= 0 else None


def _json(text: str) -> str:
    return "this is JSON, not TOML: begin with config/syncd.example.toml" if text.lstrip()[:1] == "{" else ""


def _hint(what: str, line: str) -> str:
    return next((hint for said, looks, hint in HINTS if re.match(said, what) and re.match(looks, line)), NEUTRAL)
