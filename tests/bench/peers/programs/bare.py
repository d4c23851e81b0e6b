"""Deliver the records by a loop of httpx and sqlite3, the least that can resume.

It keeps the id and time of each record sent. There is no intent, no verdict on an item and no retry.
"""

import os
import sqlite3
from pathlib import Path

import httpx

from tests.bench.peers.programs import records


def main() -> None:
    """Send the records that changed since the last run, 50 at a time."""
    database = sqlite3.connect(Path(os.environ["BENCH_FOLDER"]) / "bare.db")
    database.execute("CREATE TABLE IF NOT EXISTS sent (id TEXT PRIMARY KEY, changed TEXT NOT NULL)")
    since = database.execute("SELECT max(changed) FROM sent").fetchone()[0] or ""
    with httpx.Client(timeout=30) as client:
        for page in records.pages(since):
            for start in range(0, len(page), records.BATCH):
                send(client, database, page[start : start + records.BATCH])
    database.close()


def send(client: httpx.Client, database: sqlite3.Connection, rows: list[records.Row]) -> None:
    """POST one batch, then keep its ids."""
    body = {"activities": [records.activity(row) for row in rows]}
    client.post(records.sink(), json=body, headers={"x-api-key": "bench"}).raise_for_status()
    database.executemany("INSERT INTO sent (id, changed) VALUES (?, ?)", [(row["id"], row["changed"]) for row in rows])
    database.commit()


if __name__ == "__main__":
    main()
