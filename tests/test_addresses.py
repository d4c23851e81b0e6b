"""E-mail addresses and domains, as people type them into a CRM."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from publicsuffixlist import PublicSuffixList

from syncd import addresses
from syncd.addresses import (
    _email,
    _host,
    _registrable,
    domain_of,
    email,
    host,
    is_email,
    is_free_mail,
    registrable,
    within,
)

# Verdicts of class-validator 0.15.1 with validator 13.15.35, run under node.
TAKEN = [
    "john@acme.com",
    "john.o'neil+calls@eu.acme.co.uk",
    "!#$%&'*+-/=?^_`{|}~@acme.com",
    "jörg@acme.com",
    "日本@acme.com",
    "a@acme.test",
    "a@acme.local",
    "a@xn--e1afmkfd.xn--p1ai",
    "a@1.2.3.museum",
    "a" * 64 + "@acme.com",
    "a@" + "b" * 63 + ".com",
]
REFUSED = [
    "",
    "@",
    "john",
    "john@",
    "@acme.com",
    "john@acme",
    "john@localhost",
    "john@acme.c",
    "john@acme.c1",
    "john@1.2.3.4",
    "john@[1.2.3.4]",
    "john@my_company.com",
    "john@-acme.com",
    "john@acme-.com",
    "john@acme..com",
    "john@.acme.com",
    "john.@acme.com",
    ".john@acme.com",
    "jo..hn@acme.com",
    "jo hn@acme.com",
    "jo,hn@acme.com",
    "jo🙂hn@acme.com",
    "john@doe@acme.com",
    "john@acme.com;jane@acme.com",
    "a" * 65 + "@acme.com",
    "ö" * 33 + "@acme.com",
    "a@" + "b" * 64 + ".com",
    "abc@" + ("b" * 60 + ".") * 4 + "acme.com",
]
# An address that mail programs and people dress up. Recotap refuses each as it stands.
DRESSED = [
    "john@acme.com.",
    "John Doe <john@acme.com>",
    "<john@acme.com>",
    "mailto:john@acme.com",
    "<mailto:john@acme.com>",
    "john@acme.com <john@acme.com>",
    '"Doe, John" <john@acme.com>',
    "'john@acme.com'",
    "\u2018john@acme.com\u2019",
    '"john@acme.com"',
    "John <'john@acme.com'>",
    "<john@acme.com.>",
    "john@acme.com,",
    "john@acme.com;",
    "\u200bjohn@acme.com",
    "\ufeffjohn@acme.com",
    "john@\u200bacme.com\u200b",
    "jo\u00adhn@acme.com",
    "\u202ajohn@acme.com\u202c",
    "\u00a0JOHN@acme.com \u200b",
]
PROSE = [
    "n/a",
    "not available",
    "inferred — john@acme.com",
    "john@acme.com (old)",
    "john@acme.com, jane@acme.com",
    "john at acme.com",
    '"john doe"@acme.com',
    "john@acme.com\x00",
    "jo\ud800hn@acme.com",
    "john@acme.com " * 10_000,
]


@pytest.mark.parametrize("address", TAKEN)
def test_an_address_that_recotap_takes_is_one(address: str) -> None:
    assert is_email(address)
    assert email(address) == address


@pytest.mark.parametrize("address", [*REFUSED, *PROSE])
def test_what_recotap_refuses_and_prose_is_no_address(address: str) -> None:
    assert email(address) is None


@pytest.mark.parametrize("text", DRESSED)
def test_an_address_is_found_within_what_stands_around_it(text: str) -> None:
    """F15: each of these was `no_contact_email`."""
    assert email(text) == "john@acme.com"


@pytest.mark.parametrize("text", ["<>", "John <>", "'", "<<john@acme.com>>", "John <john@acme.com> (old)", "a" * 2_000])
def test_other_text_around_an_address_makes_it_prose(text: str) -> None:
    assert email(text) is None


@pytest.mark.parametrize("address", [*REFUSED, *filter(str.isascii, DRESSED)])
def test_the_local_check_refuses_what_recotap_refuses(address: str) -> None:
    assert not is_email(address)


@pytest.mark.parametrize("value", [None, 42, b"john@acme.com", ["john@acme.com"]])
def test_what_is_no_string_is_no_address(value: object) -> None:
    assert email(value) is None
    assert not is_email(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  John.Doe@ACME.com\n", "john.doe@acme.com"),
        ("JÖRG@Bücher.de", "jörg@xn--bcher-kva.de"),
        ("jo\u0308rg@acme.com", "j\u00f6rg@acme.com"),
        ("a@пример.рф", "a@xn--e1afmkfd.xn--p1ai"),
        ("a@acme\u3002com", "a@acme.com"),
        ("John@Acme.TEST", "john@acme.test"),
    ],
)
def test_addresses_are_trimmed_lower_cased_and_their_domain_written_in_ascii(text: str, expected: str) -> None:
    assert email(text) == expected


# Near the edge of the plain path: dashes, digits, special-use names, lengths.
LABELS = st.one_of(
    st.text("ab9-", min_size=1, max_size=6),
    st.sampled_from(["xn--", "xn--e1afmkfd", "ab--c", "a--b", "test", "local", "localhost", "arpa", "onion", "1", "-"]),
    st.sampled_from([61, 62, 63, 64]).map("b".__mul__),
)
LOCALS = st.one_of(
    st.text("az9!#$%&'*+-/=?^_`{|}~", min_size=1, max_size=8),
    st.text('az.\\"<>(@', min_size=1, max_size=4),
    st.sampled_from([63, 64, 65]).map("x".__mul__),
)
TOPS = st.one_of(st.sampled_from(["com", "test", "zz"]), LABELS)
LOOKALIKES = st.builds("{}@{}.{}".format, LOCALS, st.lists(LABELS, min_size=1, max_size=4).map(".".join), TOPS)
PLAIN = st.from_regex(addresses._PLAIN, fullmatch=True)


@settings(max_examples=400, deadline=None)
@given(st.one_of(LOOKALIKES, PLAIN, st.sampled_from([*TAKEN, *REFUSED, *PROSE])))
def test_the_plain_path_takes_an_address_only_if_email_validator_returns_it_unchanged(text: str) -> None:
    if addresses._is_plain(text):
        assert addresses._validated(text) == text
        assert is_email(text)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("john.o'neil+calls@eu.acme.co.uk", True),
        ("a@x.test", True),
        ("a@1.2.3.museum", True),
        ("x" * 64 + "@acme.com", True),
        ("a@" + "b" * 63 + ".com", True),
        ("x" * 60 + "@" + ("b" * 62 + ".") * 3 + "com", True),  # 253 characters
        ("x" * 62 + "@" + ("b" * 62 + ".") * 3 + "com", False),  # 255
        ("x" * 65 + "@acme.com", False),
        ("a@" + "b" * 64 + ".com", False),
        ("a@ab--cd.com", False),
        ("a@xn--e1afmkfd.com", False),
        ("a@acme.c1", False),
        ("a@acme.123", False),
        ("a@acme.c", False),
        ("a@acme", False),
        ("a.@acme.com", False),
        ("a..b@acme.com", False),
        ("a@acme.com.", False),
        ("a@acme.com\n", False),
        ("a@acme_x.com", False),
    ],
)
def test_what_the_plain_path_takes(text: str, plain: bool) -> None:
    assert addresses._is_plain(text) == plain


def test_the_property_above_sees_many_addresses_on_the_plain_path_and_many_off_it() -> None:
    """Otherwise it would also hold if the plain path took nothing, or the lookalikes were all invalid."""
    seen = {True: 0, False: 0}

    @settings(max_examples=300, database=None)
    @given(LOOKALIKES)
    def look(text: str) -> None:
        seen[addresses._is_plain(text)] += 1

    look()
    assert min(seen.values()) > 30, seen


# Pieces that make up something like an address more often than arbitrary text does.
PIECES = st.sampled_from(
    [
        "a",
        "Z",
        "7",
        ".",
        "-",
        "_",
        "+",
        "'",
        "@",
        "com",
        "test",
        "xn--",
        "ß",
        "İ",
        "ǅ",
        "\u0301",
        "日",
        " ",
        "<",
        "\x00",
    ]
)


@settings(deadline=None)
@given(st.tuples(st.lists(PIECES, max_size=5), st.lists(PIECES, max_size=5)).map(lambda p: "@".join(map("".join, p))))
def test_whatever_comes_in_an_address_that_goes_out_is_valid_and_stays_the_same(text: str) -> None:
    for candidate in (text, f"{text}.com"):
        address = email(candidate)
        if address is not None:
            assert is_email(address)
            assert email(address) == address == address.lower()
            assert domain_of(address).isascii()


@pytest.mark.parametrize(
    "text",
    [
        "acme.com",
        " ACME.com. ",
        "www.acme.com",
        "https://www.acme.com/en/about?x=1#top",
        "HTTP://acme.com:8080",
        "//acme.com/",
        "ftp://user:secret@acme.com:21/files",
        "acme.com?utm_source=a@b.org",
        "acme.com\\en",
        "info@acme.com",
        "mailto:info@acme.com",
        "https://acme.com/" + "x" * 1_000,
    ],
)
def test_a_host_is_found_in_whatever_stands_around_it(text: str) -> None:
    assert host(text) == "acme.com"


def test_a_host_is_written_in_ascii() -> None:
    assert host("https://www.Bücher.de/") == "xn--bcher-kva.de"
    assert host("www.com") == "www.com"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("acme.com", "acme.com"),
        ("https://www.eu.acme.com/", "acme.com"),
        ("www.acme.co.uk", "acme.co.uk"),
        ("bücher.de", "xn--bcher-kva.de"),
        ("www.пример.рф", "xn--e1afmkfd.xn--p1ai"),
        ("docs.acme.github.io", "acme.github.io"),
        ("github.io", "github.io"),
        ("ruhr-uni-bochum.de", "ruhr-uni-bochum.de"),
        ("acme.uk.com", "acme.uk.com"),
    ],
)
def test_a_domain_is_cut_down_to_what_somebody_registered(text: str, expected: str) -> None:
    assert registrable(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *(
            "vistex.unknown",
            "n/a",
            "N/A",
            "localhost",
            "-",
            "none",
            "unknown",
            "",
            " ",
            ".",
            "..",
            "www.",
            "http://",
        ),
        *("127.0.0.1", "http://10.0.0.1:80/", "[::1]", "http://[2001:db8::1]/", "2001:db8::1", "1.2.3"),
        *("com", "co.uk", "acme", "acme.local", "acme inc.", "acme.com, acme.de", "acme..com", "-acme.com"),
        *(
            "my_company.com",
            "acme\x00.com",
            "acme\ud800.com",
            "\u2488com",
            "xn--.com\u00e4",
            "a" * 64 + ".com",
        ),
        *("a." * 127 + "com", "acme.com" + " " * 5_000),
    ],
)
def test_placeholders_and_prose_yield_no_domain(text: str) -> None:
    assert registrable(text) is None


@pytest.mark.parametrize("value", [None, 42, b"acme.com"])
def test_what_is_no_string_is_no_domain(value: object) -> None:
    assert host(value) is None
    assert registrable(value) is None


@settings(deadline=None)
@given(st.text() | st.lists(PIECES | st.sampled_from(["://", "/", ":8", "www."])).map("".join))
def test_whatever_comes_in_a_domain_that_goes_out_stays_the_same(text: str) -> None:
    for candidate in (text, f"{text}.com"):
        name, domain = host(candidate), registrable(candidate)
        assert name is None or host(name) == name
        assert domain is None or registrable(domain) == domain
        assert domain is None or (name is not None and within(name, {domain}))


def test_a_host_is_within_a_domain_and_all_above_it() -> None:
    assert within("acme.com", {"acme.com"})
    assert within("mail.eu.acme.com", {"acme.com", "other.com"})
    assert not within("acme.com", {"mail.acme.com"})
    assert not within("notacme.com", {"acme.com"})
    assert not within("acme.com", set())


@pytest.mark.parametrize("name", ["gmail.com", "yahoo.co.uk", "web.de", "eu.hotmail.com", "vip.qq.com"])
def test_a_free_mail_provider_is_known_by_its_domain(name: str) -> None:
    assert is_free_mail(name)


@pytest.mark.parametrize("name", ["acme.com", "notgmail.com", "acme.za.com", "com"])
def test_others_are_no_free_mail_providers(name: str) -> None:
    assert not is_free_mail(name)


@pytest.mark.parametrize("remembering", [_email, _host, _registrable])
def test_what_is_remembered_is_bounded(remembering: object) -> None:
    assert remembering.cache_info().maxsize == 16_384  # type: ignore[attr-defined]
    before = _email.cache_info().misses
    email("long " * 10_000)
    assert _email.cache_info().misses == before


def test_an_address_may_have_254_characters_and_no_more() -> None:
    domain = ".".join(["a" * 63, "b" * 63, "c" * 57]) + ".com"
    assert is_email(f"{'x' * (254 - 1 - len(domain))}@{domain}")
    assert not is_email(f"{'x' * (255 - 1 - len(domain))}@{domain}")


@pytest.mark.parametrize("address", ["JOHN@ACME.COM", "john@A0-9Z.COM", "john@0acme9.com"])
def test_capitals_and_digits_are_as_good_as_small_letters(address: str) -> None:
    assert is_email(address)


@pytest.mark.parametrize("ip", ["1.2.3.4", "http://1.2.3.4/x", "[::1]", "::1"])
def test_an_ip_is_no_host_of_anybody(ip: str) -> None:
    assert host(ip) is None


@pytest.mark.parametrize(
    ("name", "by_all", "private_too"),
    [
        ("com", True, True),
        ("co.uk", True, True),
        ("acme.co.uk", False, False),
        ("acme.com", False, False),
        ("github.io", False, True),
        ("acme.github.io", False, False),
        ("anything.ck", True, True),  # *.ck
        ("www.ck", False, False),  # !www.ck
        ("kobe.jp", True, True),  # *.kobe.jp
        ("xn--55qx5d.cn", True, True),  # listed in its own letters
        ("unknown", False, False),
    ],
)
def test_a_public_suffix_is_known_as_the_parsed_list_knows_it(name, by_all, private_too):
    assert addresses.is_public_suffix(name) is by_all
    assert addresses.is_public_suffix(name, private_too=True) is private_too
    for only_icann, expected in ((True, by_all), (False, private_too)):
        parsed = PublicSuffixList(accept_unknown=False, only_icann=only_icann)
        assert (parsed.publicsuffix(name) == name) is expected
