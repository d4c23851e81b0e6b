"""Deliver the records by dlt, as its page on reverse ETL shows it: a resource and a custom destination."""

import os
from collections.abc import Iterator
from typing import Any

import dlt
from dlt.sources.helpers import requests

from tests.bench.peers.programs import records

TEXT: Any = {"data_type": "text"}  # otherwise dlt makes datetimes of these, which JSON does not take


@dlt.resource(name="calls", primary_key="externalActivityId", columns={"changed": TEXT, "occurredAt": TEXT})
def calls(changed: Any = dlt.sources.incremental("changed")) -> Iterator[list[records.Row]]:  # noqa: B008 - dlt's way
    """Yield pages of activities that changed since the last run."""
    for page in records.pages(changed.last_value or ""):
        yield [{"changed": row["changed"], **records.activity(row)} for row in page]


@dlt.destination(name="recotap", batch_size=records.BATCH)
def recotap(items: list[records.Row], table: Any) -> None:
    """POST one batch."""
    for item in items:
        item.pop("changed")
    requests.post(records.sink(), json={"activities": items}, headers={"x-api-key": "bench"})  # raises for a status


def main() -> None:
    """Run the pipeline once."""
    folder = os.environ["BENCH_FOLDER"]
    pipeline = dlt.pipeline("bench", destination=recotap, pipelines_dir=folder)
    pipeline.run(calls()).raise_on_failed_jobs()


if __name__ == "__main__":
    main()
