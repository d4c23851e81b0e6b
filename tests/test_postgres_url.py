"""The address of a ledger in PostgreSQL: its mistakes, and the verified TLS that it gets."""

import pytest

from syncd.types import postgres_url

PLAIN = "postgresql://syncd@db.example.com/syncd"


@pytest.mark.parametrize(
    "url",
    [
        "",
        PLAIN,
        "postgres://db.example.com:5433/syncd?sslmode=verify-ca&sslrootcert=/etc/syncd/ca.pem",
        "postgresql://syncd@db1.example.com,db2.example.com:5433/syncd?target_session_attrs=read-write",
        "postgresql://syncd@127.0.0.1,localhost:5433,[::1]:5432/syncd?sslmode=disable",
        "postgresql:///syncd?host=/run/postgresql&sslmode=disable",
        "postgresql://%2Frun%2Fpostgresql/syncd?sslmode=disable",
        f"{PLAIN}?options=-csearch_path%3Dours",
        "postgresql://db.example.com?dbname=syncd",
    ],
)
def test_an_address_is_taken_as_it_is(url: str) -> None:
    assert postgres_url.checked(f" {url} ") == url


@pytest.mark.parametrize(
    ("url", "mistake"),
    [
        ("https://db.example.com/syncd", "expected an address such as postgresql://"),
        ("postgresql://syncd@db.example.com", "expected an address such as postgresql://"),
        ("postgresql://syncd@[::1/syncd", "expected an address such as postgresql://"),
        (f"{PLAIN}#a", "expected an address such as postgresql://"),
        (f"{PLAIN}?sslmode", "expected an address such as postgresql://"),
        ("host=db.example.com dbname=syncd", "expected an address such as postgresql://"),
        ("postgresql://syncd:canary@db.example.com/syncd", "remove it, and set [ledger] password"),
        (f"{PLAIN}?password=canary", "remove it, and set [ledger] password"),
        (f"{PLAIN}?canary=1", "with no parameters except application_name, "),
        (f"{PLAIN}?sslmode=require", "remove sslmode, or set verify-full"),
        (f"{PLAIN}?sslmode=disable", "remove sslmode, or set verify-full"),
        ("postgresql://127.0.0.1,db.example.com/syncd?sslmode=disable", "remove sslmode, or set verify-full"),
        ("postgresql:///syncd?host=/run,db.example.com&sslmode=disable", "remove sslmode, or set verify-full"),
    ],
)
def test_a_mistake_is_said_and_nothing_of_the_address_repeated(url: str, mistake: str) -> None:
    with pytest.raises(ValueError, match=".") as caught:
        postgres_url.checked(url)
    assert mistake in str(caught.value)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (PLAIN, {"sslmode": "verify-full", "sslrootcert": "/system.pem"}),
        (f"{PLAIN}?sslrootcert=/ca.pem", {"sslmode": "verify-full"}),
        (f"{PLAIN}?sslmode=verify-ca&sslrootcert=/ca.pem", {}),
        ("postgresql://127.0.0.1/syncd", {}),
        ("postgresql://127.0.0.1,db.example.com/syncd", {"sslmode": "verify-full", "sslrootcert": "/system.pem"}),
    ],
)
def test_a_server_of_another_machine_is_always_verified(url: str, expected: dict[str, str]) -> None:
    assert postgres_url.tls(url, bundle="/system.pem") == expected


def test_without_a_file_of_certificates_libpq_looks_for_the_systems() -> None:
    assert postgres_url.tls(PLAIN, bundle="")["sslrootcert"] == "system"


def test_an_address_is_shown_without_its_user_and_parameters() -> None:
    assert postgres_url.shown(f"{PLAIN}?sslrootcert=/ca.pem") == "postgresql://db.example.com/syncd"
