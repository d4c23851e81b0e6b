"""Invent the records that every program reads, with the standard library alone.

Each program imports this module in its own process, so none of them pays for a source's network.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

PAGE = 200  # records a page, as a CRM serves them
BATCH = 50  # activities a POST
FIRST = datetime(2026, 1, 5, 8, tzinfo=UTC)  # the first call; the others follow a minute apart
REPS = 25
ACCOUNTS = 2_000

Row = dict[str, Any]


def total() -> int:
    """Return the number of records of this run."""
    return int(os.environ["BENCH_RECORDS"])


def sink() -> str:
    """Return the URL that takes the activities."""
    return f"{os.environ['BENCH_SINK']}/api/v1/sales-activities"


def pages(since: str = "") -> Iterator[list[Row]]:
    """Yield pages of the CRM's rows that changed after `since`, ascending by `changed`."""
    count = total()
    for start in range(0, count, PAGE):
        page = [row(number) for number in range(start, min(start + PAGE, count))]
        if page[-1]["changed"] > since:
            yield [each for each in page if each["changed"] > since]


def row(number: int) -> Row:
    """Return one call as a CRM tells it. Its contact is in no other call."""
    at = FIRST + timedelta(minutes=number)
    account, rep = number % ACCOUNTS, number % REPS
    domain = f"account-{account}.com"
    return {
        "id": f"{number + 1_000_000}",
        "at": _text(at),
        "changed": _text(at + timedelta(minutes=30)),
        "title": f"Discovery call {number}",
        "minutes": 5 + number % 40,
        "outcome": "Connected",
        "direction": "outbound",
        "rep": {"id": f"{rep}", "email": f"rep-{rep}@lanternfield-sales.com", "name": f"Rep Number {rep}"},
        "contact": {
            "id": f"{number + 5_000_000}",
            "email": f"contact.{number}@{domain}",
            "name": f"Contact Number {number}",
            "title": "Buyer",
        },
        "account": {"id": f"{account}", "name": f"Account {account}", "domain": domain},
    }


def activity(row: Row) -> Row:
    """Map a row to the JSON object that Recotap gets."""
    rep, contact, account = row["rep"], row["contact"], row["account"]
    return {
        "externalActivityId": f"bench-call-{row['id']}",
        "activityType": "call",
        "occurredAt": row["at"],
        "domain": account["domain"],
        "accountName": account["name"],
        "ownerEmail": rep["email"],
        "ownerName": rep["name"],
        "ownerId": rep["id"],
        "callTitle": row["title"],
        "durationMinutes": row["minutes"],
        "outcome": row["outcome"],
        "direction": row["direction"],
        "contacts": [
            {
                "email": contact["email"],
                "externalContactId": contact["id"],
                "name": contact["name"],
                "title": contact["title"],
            }
        ],
    }


def _text(moment: datetime) -> str:
    return f"{moment.isoformat()[:19]}.000Z"
