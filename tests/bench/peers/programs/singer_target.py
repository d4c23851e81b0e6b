"""Deliver Singer records, by a target whose BatchSink POSTs 50 at a time."""

from typing import Any

import requests
from singer_sdk import BatchSink, Target
from singer_sdk import typing as th

from tests.bench.peers.programs import records


class Recotap(BatchSink):  # type: ignore[misc]  # the SDK is not installed here
    """Send one batch a POST, over one connection."""

    max_size = records.BATCH

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.session = requests.Session()

    def process_batch(self, context: dict[str, Any]) -> None:
        """POST the batch."""
        items = context["records"]
        for item in items:
            item.pop("changed")
        response = self.session.post(
            records.sink(), json={"activities": items}, headers={"x-api-key": "bench"}, timeout=30
        )
        response.raise_for_status()


class BenchTarget(Target):  # type: ignore[misc]
    """Offer the one sink."""

    name = "target-bench"
    config_jsonschema = th.PropertiesList().to_dict()
    default_sink_class = Recotap


if __name__ == "__main__":
    BenchTarget.cli()
