"""Explain to the operator why a text is not TOML. Pure. No message repeats the text, which may hold a secret."""

import re
from typing import NamedTuple

YAML = r"\s*(---|- |[A-Za-z_][\w.-]*:(\s|$))"
DATE = r"[^#]*=\s*(\d{4}-\d|\d{1,2}[:/.]\d)"
BACKSLASH = r"write a Windows path with / or in single quotes, e.g. path = 'C:\data\ledger.db'"
QUOTES = 'put text in quotes, e.g. timeout = "30s"'
STRAIGHT = 'use straight quotes "…", not typographic ones'
TWICE = "the key or table is there twice: keep one of the two"
UNCLOSED = "a closing quote is missing"
WORDS = 'write true or false, and put all other words in quotes, e.g. timeout = "30s"'
NEUTRAL = "compare the line with config/syncd.example.toml"


class Mistake(NamedTuple):
    """One way in which a text is not TOML."""

    said: str  # the beginning of tomllib's message, a regular expression
    looks: str  # the beginning of the line, another one
    hint: str  # the remedy


# The first match counts.
MISTAKES = (
    Mistake("", r"[<=>|]{7}( |$)",
             "an unfinished merge: keep one side, and remove the lines of <<<<<<<, ======= and >>>>>>>"),
    Mistake("", r"\s*<[?!A-Za-z]", "this is XML or HTML, not TOML: begin with config/syncd.example.toml"),
    Mistake("Cannot (overwrite|declare|mutate)|Duplicate", "", TWICE),
    Mistake(r"Illegal character '\\n'|Unterminated|Expected (\"'|'\"|\"\"\"|''')", "", UNCLOSED),
    Mistake(r"Unescaped|Invalid hex|Escaped character", "", BACKSLASH),
    Mistake("Illegal character", "", "the line holds a control character: delete the line and type it again"),
    Mistake("Unclosed array", "", "a list begins with [ and has no ] at its end"),
    Mistake("Unclosed inline table", "", "a table begins with { and has no } at its end"),
    Mistake("", "[^#]*[“”„‘’]", STRAIGHT),
    Mistake("Expected ']", "", "write a table's name in brackets, alone in its line: [recotap]"),
    Mistake(r"Invalid (statement|initial)|Expected '='", r"\s*(;|//|/\*|--\s)", "a comment begins with #"),
    Mistake("Expected '='|Invalid statement", YAML,
             "this is YAML, not TOML: write key = value, and [table] above its keys"),
    Mistake("Expected '='", "", 'each line is a key, a = and a value, e.g. timeout = "30s"'),
    Mistake("Invalid statement", r"\s*=", "the key is missing left of the ="),
    Mistake("Invalid initial", r".*\{", "write a table between { and } in one line"),
    Mistake("Invalid value", r"[^#]*=\s*(#|$)", 'the value is missing right of the =. Write "" for an empty one'),
    Mistake("Invalid value", r"[^#]*=\s*(?i:true|false|yes|no|on|off|null|none)\b", WORDS),
    Mistake("Invalid value", "", QUOTES),
    Mistake("Expected newline", DATE, "write a time as 2026-01-01T00:00:00Z. It must exist"),
    Mistake("Expected newline", r"[^#]*=\s*0\d", "write a number without leading zeros"),
    Mistake("Expected newline", r"[^#]*=\s*[\d.]+[A-Za-z%]", QUOTES),
    Mistake("Expected newline", "", "write one key = value in each line. Only a comment with # may follow it"),
)  # fmt: skip


def explain(text: str, message: str) -> tuple[int | None, str, str]:
    """Return the line, the mistake and the remedy for a `message` of tomllib. The line is None if there is only one."""
    what, place = message, re.fullmatch(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", message, re.DOTALL)
    lines = text.split("\n")
    number = len(text.rstrip().split("\n"))
    if place:
        what, number = place[1], int(place[2] or _begin(text, place[1]) or number)
    only = len(lines) == 1
    return (
        None if only else number,
        what,
        _json(text) or _advice(what, lines[number - 1] if number <= len(lines) else ""),
    )


def _begin(text: str, what: str) -> int | None:
    """Return the line where an unclosed text begins that runs to the end of the document, otherwise None."""
    if not re.match("Unterminated|Expected", what):
        return None
    at = max(text.rfind(quotes) for quotes in ('"""', "'''"))
    return text.count("\n", 0, at) + 1 if at >= 0 else None


def _json(text: str) -> str:
    return "this is JSON, not TOML: begin with config/syncd.example.toml" if text.lstrip()[:1] == "{" else ""


def _advice(what: str, line: str) -> str:
    return next((hint for said, looks, hint in MISTAKES if re.match(said, what) and re.match(looks, line)), NEUTRAL)
