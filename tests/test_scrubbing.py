"""A foreign text is kept for the operator without its personal data."""

import html
import json
import quopri
import re
import sys
import time
import unicodedata
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from html.entities import codepoint2name
from typing import Any
from urllib.parse import quote, quote_plus, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.privacy.scrubbing import GONE, MOST, scrub

PAYLOAD = {
    "externalActivityId": "hubspot-call-9", "activityType": "call", "occurredAt": "2026-03-02T09:00:00Z",
    "domain": "amber-bolts.example", "accountName": "Amber Bolts", "ownerEmail": "ada@lanternfield.example",
    "callTitle": "Quarterly  roof review", "durationMinutes": 30, "outcome": "Connected", "direction": "outbound",
    "from": {"name": "Ada Eschenfeld"},
    "contacts": [
        {"email": "kaya@amber-bolts.example", "name": "Kaya Ivorstone", "phone": "+1 415 555 0101", "title": "VP"},
        {"email": "li@amber-bolts.example", "name": "Li"},
    ],
}  # fmt: skip


def test_a_text_without_anything_personal_stays_as_it_is():
    text = "Internal processing error (code 17): domain should not be empty"
    assert scrub(text, PAYLOAD) == text


def test_white_space_and_line_breaks_become_single_spaces():
    assert scrub("  a\n\tb\r\n c ") == "a b c"


@pytest.mark.parametrize("value", [
    "Quarterly roof review", "Kaya Ivorstone", "Ada Eschenfeld", "+1 415 555 0101", "kaya@amber-bolts.example",
    "Amber Bolts",
])  # fmt: skip
def test_every_string_of_the_payload_is_removed_wherever_it_stands(value):
    assert scrub(f"title '{value}' and {value}!", PAYLOAD) == f"title '{GONE}' and {GONE}!"


@pytest.mark.parametrize("part", ["Kaya", "ivorstone", "ESCHENFELD", "kaya"])
def test_a_part_of_a_name_or_the_user_of_an_address_is_personal_by_itself(part):
    assert scrub(f"no {part} here", PAYLOAD) == f"no {GONE} here"


def test_a_word_of_a_title_goes_too_unless_it_is_an_ordinary_one_of_an_api():
    assert scrub("the roof is odd", PAYLOAD) == f"the {GONE} is odd"
    assert scrub("the email is odd", {"subject": "your email"}) == "the email is odd"


@pytest.mark.parametrize("part", ["kaya-lou", "ivorstone", "crm"])
def test_each_part_of_an_addresss_user_is_personal_by_itself(part):
    payload = {"contacts": [{"email": "kaya-lou.ivorstone+crm@amber-bolts.example"}]}
    assert scrub(f"no {part} here", payload).replace(f"{GONE}-{GONE}", GONE) == f"no {GONE} here"


def test_case_and_white_space_hide_nothing():
    assert scrub("KAYA\n  ivorstone: QUARTERLY ROOF\treview", PAYLOAD) == f"{GONE}: {GONE}"


@pytest.mark.parametrize("value", ["hubspot-call-9", "call", "amber-bolts.example", "outbound", "Connected"])
def test_what_is_nobodys_secret_stays_for_the_operator(value):
    assert scrub(f"about {value}.", PAYLOAD) == f"about {value}."


def test_strings_under_three_characters_are_nobodys_unless_they_are_a_name():
    assert scrub("Li is VP of it", PAYLOAD) == f"{GONE} is VP of it"
    assert scrub("Xu is in", {"title": "Xu"}) == "Xu is in"
    assert scrub("Ann is in", {"name": "Ann"}) == f"{GONE} is in"


def test_of_strings_in_one_another_the_whole_is_removed():
    assert scrub("Anna Smith, Ann", {"names": ["Ann", "Anna Smith", "Smith"]}) == f"{GONE}, {GONE}"


def test_of_strings_that_overlap_no_rest_remains():
    assert scrub("x John Doe Smith y", ["John Doe", "Doe Smith"]) == f"x {GONE} y"
    assert scrub("ababab!", ["abab"]) == f"{GONE}!"


def test_a_payload_that_says_removed_does_not_make_the_text_grow():
    assert scrub("removed John", ["removed", "move", "John"]) == f"{GONE} {GONE}"


def test_a_pattern_in_a_payload_is_text():
    assert scrub("a.*b and aXXb", ["a.*b"]) == f"{GONE} and aXXb"


@pytest.mark.parametrize("address", ["kaya@elsewhere.example", "k+tag@x.example", "Zoë@x.example", "a.b@[10.0.0.1]"])
def test_addresses_that_nobody_named_are_removed(address):
    assert scrub(f"to <{address}>, '{address}' ({address})") == f"to <{GONE}>, '{GONE}' ({GONE})"


def test_an_address_is_removed_whole_though_its_user_is_in_the_payload():
    assert scrub("for kaya@elsewhere.example", {"name": "kaya"}) == f"for {GONE}"


@pytest.mark.parametrize("phone", [
    "+1 415 555 0101", "(415) 555-0101", "415.555.0101", "0049 30 1234567", "14155550101", "555-0101",
])  # fmt: skip
def test_phone_numbers_that_nobody_named_are_removed(phone):
    assert phone[2:] not in scrub(f"call {phone} now")
    assert scrub(f"call {phone} now").replace("(", "") == f"call {GONE} now"


@pytest.mark.parametrize("text", ["HTTP 503", "error 1234567", "3 of 50", "1-2-3"])
def test_short_numbers_stay(text):
    assert scrub(text) == text


def test_a_long_text_is_cut_after_it_was_scrubbed():
    assert scrub("x" * 1000) == "x" * MOST
    text = "x" * (MOST - 4) + " kaya@amber-bolts.example"
    assert scrub(text) == "x" * (MOST - 4) + " " + GONE[:3]


@pytest.mark.parametrize(
    "text", ["a" * 300_000, "1" + "-" * 300_000, "a" * 150_000 + "@", "@" * 300_000, "1 " * 150_000]
)
def test_a_text_of_any_length_costs_no_more_than_its_length(text):
    before = time.process_time()
    scrub(text)
    assert time.process_time() - before < 5.0  # the square of it would be minutes


@pytest.mark.parametrize("payload", [None, 5, True, [], {}, [None, 5], {"a": None}])
def test_a_payload_without_strings_takes_nothing_away(payload):
    assert scrub("as it is", payload) == "as it is"


short = st.text(max_size=30)


@given(short, st.lists(short, max_size=5))
def test_no_string_of_a_payload_survives_in_any_text(text, values):
    told = scrub(f"{text} {' '.join(values)}", values).replace(GONE, "\0")
    flat = [" ".join(value.split()) for value in values]
    assert not [value for value in flat if len(value) >= 3 and value in told]


# -- escaped, broken and truncated ----------------------------------------------------------

PERSON: dict[str, Any] = {
    "externalActivityId": "hubspot-email-41", "activityType": "email", "domain": "amber-bolts.example",
    "subject": "Überraschung für Quellbrunn zebra-41", "ownerEmail": "jörg.mueßig@lanternfield.example",
    "ownerName": "Jørgen O'Çallaghan",
    "contacts": [
        {"email": "canaria.quellbrunn@gmail.example", "name": "Zoë Quéllbrunn-Sánchez", "phone": "+49 30 5550142788",
         "title": "Vizepräsidentin", "linkedinUrl": "https://www.linkedin.com/in/zquellbrunn9"},
    ],
}  # fmt: skip
WORDS = ("überraschung", "quellbrunn", "zebra", "jörg", "mueßig", "jørgen", "çallaghan", "canaria", "zoë", "quéllbrunn",
         "sánchez", "5550142788", "vizepräsidentin", "zquellbrunn9")  # fmt: skip
ECHO = "; ".join([PERSON["subject"], PERSON["ownerEmail"], PERSON["ownerName"], *PERSON["contacts"][0].values()])


def quoted_printable(text):
    return quopri.encodestring(text.encode()).decode()


def plain_letters(text):
    return "".join(char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char))


ESCAPES = {
    "as it is": str,
    "capitals": str.upper,
    "percent": quote,
    "percent, all": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "percent of Latin-1": lambda text: quote(text.encode("latin-1", "replace")),
    "plus for spaces": quote_plus,
    "percent twice": lambda text: quote(quote(text)),
    "percent three times": lambda text: quote(quote(quote(text))),
    "%u": lambda text: "".join(char if char.isascii() else f"%u{ord(char):04x}" for char in text),
    "HTML names": lambda text: "".join(f"&{codepoint2name[ord(c)]};" if ord(c) in codepoint2name else c for c in text),
    "HTML numbers": lambda text: "".join(f"&#{ord(char)};" for char in text),
    "HTML hexadecimal": lambda text: "".join(f"&#x{ord(char):x};" for char in text),
    "HTML twice": lambda text: "".join(f"&amp;#{ord(char)};" for char in text),
    "JSON": lambda text: json.dumps(text),
    "JSON twice": lambda text: json.dumps(json.dumps(text)),
    "JSON, all": lambda text: "".join(f"\\u{ord(char):04X}" for char in text),
    "JSON in percent": lambda text: quote(json.dumps(text)),
    "Python": ascii,
    "bytes": lambda text: repr(text.encode()),
    "octal": lambda text: "".join(chr(b) if b < 128 else f"\\{b:03o}" for b in text.encode()),
    "u{}": lambda text: "".join(f"\\u{{{ord(char):x}}}" for char in text),
    "quoted-printable": quoted_printable,
    "decomposed": lambda text: unicodedata.normalize("NFD", text),
    "decomposed in JSON": lambda text: json.dumps(unicodedata.normalize("NFD", text)),
    "without diacritics": plain_letters,
    "mojibake": lambda text: text.encode().decode("cp1252", "replace"),
    "fullwidth": lambda text: "".join(chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char for char in text),
    "zero width": "\u200b".join,
    "soft hyphens": "\u00ad".join,
    "tags between": "\U000e0041".join,
    "underscores": lambda text: text.replace(" ", "_"),
    "dots": lambda text: text.replace(" ", "."),
    "no spaces": lambda text: text.replace(" ", ""),
    "reversed names": lambda text: "; ".join(", ".join(reversed(part.split())) for part in text.split("; ")),
    "base64": lambda text: b64encode(text.encode()).decode(),
    "base64 for URLs": lambda text: urlsafe_b64encode(text.encode()).decode().rstrip("="),
    "hexadecimal": lambda text: text.encode().hex(),
    "RFC 2047": lambda text: f"=?UTF-8?B?{b64encode(text.encode()).decode()}?=",
}


def readable(text):
    """Everything that a reader could recover from a text, with tools other than syncd's."""
    for _ in range(3):
        text = html.unescape(unquote(text))
    folded = plain_letters(text).casefold()
    return {text.casefold(), folded, folded.replace("ø", "o")}


@pytest.mark.parametrize("how", ESCAPES)
def test_no_escape_and_no_spelling_hides_a_word(how):
    for said in (ECHO, *ECHO.split("; ")):
        told = scrub(f"Contact 3 could not be stored: {ESCAPES[how](said)}", PERSON)
        assert told.startswith("Contact 3 could not be stored: "), told
        left = [
            word for word in WORDS for form in {word, plain_letters(word)} for seen in readable(told) if form in seen
        ]
        assert left == [], told
        assert GONE in told


@pytest.mark.parametrize("size", range(6, len(PERSON["subject"])))
def test_a_truncated_subject_goes_too(size):
    for end in ("", "…", "...", '"'):
        told = scrub(f'title "{PERSON["subject"][:size].strip()}{end}', PERSON)
        assert set(re.findall(r"\w+", told)) <= {"title", "removed"}, told


@pytest.mark.parametrize("part", ["Quellb", "llbrunn", "Z. Quellbrunn", "Quellbrunn, C.", "xQuellbrunnx", "Sanchez",
                                  "Joerg", "Mueßig", "MUESSIG", "Quéllbrunn_Sánchez", "gmail"])  # fmt: skip
def test_a_part_of_a_word_goes_too(part):
    assert set(re.findall(r"[^\W_]+", scrub(f"no {part} here", PERSON))) <= {"no", "removed", "here"}


@pytest.mark.parametrize(
    "number", ["5550142788", "+49 (30) 555-0142-788", "0142788", "49.30.555.01.42.788", "+49 30 5550"]
)
def test_a_phone_number_goes_in_any_grouping(number):
    assert not re.search(r"\d{3}", scrub(f"the phone {number} is odd", PERSON))


@pytest.mark.parametrize("text", [
    "Contact 3 could not be stored: email must be an email",
    "HTTP 500: Internal server error, request 17 failed: connection to the database timed out",
    "contacts.0.email must be an email; ownerEmail should not be empty",
    "duplicate key value violates unique constraint",
    "hubspot-email-41 of amber-bolts.example was rejected with code 429",
    'insert or update on table "activities" violates foreign key constraint "account_id"',
    "status=404 retries=10 of 20; a=b&c=d; 100% of it",
])  # fmt: skip
def test_what_an_operator_needs_stays(text):
    assert scrub(text, PERSON) == text


def test_4_mb_of_text_and_a_hundred_contacts_cost_a_fraction_of_a_second():
    people = [
        {"email": f"person{n}.name{n}@x{n}.example", "name": f"Person{n} Surname{n}", "phone": f"+1 415 555 {n:04}"}
        for n in range(100)
    ]
    for text in ("Surname7 " * 450_000, "%4a" * 1_300_000, "&#x4a;" * 700_000, "\\" * 4_000_000, "a" * 4_000_000):
        before = time.process_time()
        told = scrub(text, [{"contacts": people, "subject": "x" * 1_000_000}])
        assert time.process_time() - before < 0.5
        assert "surname7" not in told.lower()
        assert len(told) <= MOST


# -- damaged: another encoding, dropped letters, markup, look-alikes ----------------------------------------

DAMAGED = ["Jürgen Großmann", "Zoë Ångström", "Łukasz Żółkowski", "Åsa Öberg", "Renée Díaz", "Íris Àvila"]


def misread(codec: str, times: int = 1) -> Callable[[str], str]:
    def read(text: str) -> str:
        for _ in range(times):
            text = text.encode().decode(codec, "replace")
        return text

    return read


def without_controls(text: str) -> str:
    return "".join(char for char in text if unicodedata.category(char) != "Cc")


DAMAGES: dict[str, Callable[[str], str]] = {
    "Latin-1": misread("latin-1"),
    "Latin-1, twice": misread("latin-1", 2),
    "Latin-1, three times": misread("latin-1", 3),
    "Latin-1, control characters dropped": lambda text: without_controls(misread("latin-1")(text)),
    "Latin-1 twice, control characters dropped": lambda text: without_controls(misread("latin-1", 2)(text)),
    "cp1252": misread("cp1252"),
    "cp1252, twice": misread("cp1252", 2),
    "cp1252, lower case": lambda text: misread("cp1252")(text).lower(),
    "cp1252, composed": lambda text: unicodedata.normalize("NFKC", misread("cp1252")(text)),
    "cp1252 in JSON": lambda text: json.dumps(misread("cp1252")(text)),
    "cp1252 in HTML": lambda text: html.escape(misread("cp1252")(text)).encode("ascii", "xmlcharrefreplace").decode(),
    "cp1252 in percent": lambda text: quote(misread("cp1252")(text)),
    "Mac": misread("mac_roman"),
    "DOS": misread("cp437"),
    "Windows, Cyrillic": misread("cp1251"),
    "ASCII, dropped": lambda text: text.encode("ascii", "ignore").decode(),
    "ASCII, question marks": lambda text: text.encode("ascii", "replace").decode(),
    "ASCII, a question mark a byte": lambda text: text.encode().decode("ascii", "replace").replace("\ufffd", "?"),
    "ASCII, replacement characters": lambda text: text.encode().decode("ascii", "replace"),
    "Latin-1, question marks": lambda text: text.encode("latin-1", "replace").decode("latin-1"),
    "Latin-1, dropped": lambda text: text.encode("latin-1", "ignore").decode("latin-1"),
    "Latin-1 read as UTF-8": lambda text: text.encode("latin-1", "replace").decode("utf-8", "replace"),
    "Latin-2, question marks": lambda text: text.encode("iso8859-2", "replace").decode("iso8859-2"),
    "bold": lambda text: re.sub(r"(\w{2})", r"<b>\1</b>", text),
    "marked by a class": lambda text: re.sub(r"(\w{2})(?=\w)", r'\1<span class="hit">', text),
    "bold in HTML": lambda text: html.escape(re.sub(r"(\w{2})", r"<b>\1</b>", text)),
    "comments": lambda text: re.sub(r"(\w)", r"\1<!-- x -->", text),
    "Markdown": lambda text: re.sub(r"(\w{3})", r"**\1**", text),
    "Cyrillic look-alikes": lambda text: text.translate(str.maketrans("aeopcyxABCEHKMOPT", "аеорсухАВСЕНКМОРТ")),
    "Greek look-alikes": lambda text: text.translate(str.maketrans("oAEKZ", "οΑΕΚΖ")),
}


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", DAMAGED)
def test_no_damage_hides_a_name(how, name):
    for said in (name, *name.split(), ", ".join(reversed(name.split()))):
        told = scrub(f"Field {DAMAGES[how](said)} is invalid", {"contacts": [{"name": name}]})
        assert told.startswith("Field "), told
        assert told.endswith(" is invalid"), told
        assert not re.findall(r"[^\W\d_]{2,}", told[6:-11].replace(GONE, " ")), told


@pytest.mark.parametrize("text", ["GroÃ\x9fmann", "GroÃmann", "JÃ¼rgen", "Gromann", "Jrgen", "J?rgen", "J??rgen",
                                  "J\ufffdrgen", "<b>Jür</b>gen", "Jürg<br/>en", "j?rg",
                                  "Groß?mann", "J□rgen", "J¿rgen", "J[b]ür[/b]gen"])  # fmt: skip
def test_a_damaged_word_goes_whole(text):
    assert scrub(f"field {text} invalid", {"name": "Jürgen Großmann"}).replace("<b>", "") == f"field {GONE} invalid"


@pytest.mark.parametrize(("name", "text"), [
    ("王伟", "字段王伟无效"), ("王 伟", "字段王伟无效"), ("伟 王", "字段王伟无效"), ("王伟", "字段 王 伟 无效"),
    ("欧阳小明", "字段小明无效"), ("김철수", "필드김철수는"), ("철수 김", "필드 김철수는"),
    ("さくら 田中", "項目田中さくらは"),
    ("สมชาย ใจดี", "ฟิลด์สมชายไม่ถูกต้อง"), ("محمد", "الحقل ومحمد خطأ"), ("דן לוי", "השדה ללוי"), ("राहुल शर्मा", "फ़ील्डराहुल"),
    ("王伟", "字段\\u738b\\u4f1f无效"), ("ナカタ", "項目ﾅｶﾀは"),
])  # fmt: skip
def test_a_name_goes_from_text_that_has_no_spaces(name, text):
    told = scrub(f"error: {text}", {"contacts": [{"name": name}]})
    assert GONE in told
    flat = unicodedata.normalize("NFKC", told).replace(" ", "")
    assert not [word for word in name.split() if len(word) > 1 and word in flat], told
    assert name.replace(" ", "") not in flat


@pytest.mark.parametrize(("name", "text", "told"), [
    ("Ng", "no Ng here", "no * here"), ("Ng", "NG: invalid", "*: invalid"), ("Bo Li", "Li, Bo is", "*, * is"),
    ("Bo Li", "contact BoLi is", "contact * is"), ("Bo Li", "contact Bo_Li is", "contact *_* is"),
    ("Bo Li", "contact Li/Bo is", "contact */* is"), ("An Nguyen", "An error of An Nguyen", "An error of *"),
    ("An Nguyen", "name An is invalid at it", "name * is invalid at it"),
    ("Is At", "id is invalid at 5", "id is invalid at 5"),
    ("Bo Li", "said bmFtZTogQm8gTGk= now", "said * now"),
    ("Ý Vũ", "name V? is", "name * is"), ("O Xi", "O is, Xi", "* is, *"),
])  # fmt: skip
def test_a_short_name_goes_where_it_is_a_word(name, text, told):
    assert scrub(text, {"contacts": [{"name": name}]}) == told.replace("*", GONE)


@pytest.mark.parametrize("text", [
    "contacts.0.email must be an email; ownerEmail should not be empty", "isEmail, maxLength, whitelistValidation",
    "No account at domain is allowed. Id is missing? Is it?", "status=404 in 5 μs: é, ünknown field `title`",
    "GET /v1/activities?limit=5&after=a failed", "expected <string> or <null>", "**required** field",
])  # fmt: skip
def test_what_an_operator_needs_stays_whoever_takes_part(text):
    people = [{"name": name} for name in ("Bo Li", "Is An", "No Id", "王伟", *DAMAGED)]
    assert scrub(text, {"contacts": people}) == text


@pytest.mark.parametrize("look_alike", ["Соре", "соре", "СОРЕ", "Cорe", "Кеіth", "\u1d0b\u1d07\u026a\u1d1b\u029c"])
def test_letters_that_look_like_others_hide_no_name(look_alike):
    assert scrub(f"field {look_alike} is", {"contacts": [{"name": "Keith Cope"}]}) == f"field {GONE} is"


def test_a_word_that_mixes_scripts_goes_whatever_its_letters_are():
    assert scrub("field Kдjth is 5 μs", {"contacts": [{"name": "Keith Cope"}]}) == f"field {GONE} is 5 μs"


def test_names_beyond_ascii_cost_no_more():
    people = [{"email": f"jürgen{n}@x.example", "name": f"Jürgen{n} Großmann{n} 王伟"} for n in range(100)]
    for text in ("JÃ¼rgen7 " * 450_000, "王" * 1_300_000, "a?" * 2_000_000, "<b" * 2_000_000, "Ã" * 4_000_000):
        before = time.process_time()
        scrub(text, [{"contacts": people, "subject": "ü" * 1_000_000}])
        assert time.process_time() - before < (2 if sys.gettrace() or "coverage" in sys.modules else 0.5)
