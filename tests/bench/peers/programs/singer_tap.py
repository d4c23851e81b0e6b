"""Write the records as Singer messages, by a tap with one incremental stream."""

from collections.abc import Iterable
from typing import Any

from singer_sdk import Stream, Tap
from singer_sdk import typing as th

from tests.bench.peers.programs import records

_TEXTS = "externalActivityId activityType occurredAt domain accountName ownerEmail ownerName ownerId callTitle outcome"
_CONTACT = "email externalContactId name title"


class Calls(Stream):  # type: ignore[misc]  # the SDK is not installed here
    """Yield one record for each activity."""

    name = "calls"
    primary_keys = ("externalActivityId",)
    replication_key = "changed"
    is_sorted = True
    schema = th.PropertiesList(
        th.Property("changed", th.DateTimeType, required=True),
        *(th.Property(name, th.StringType) for name in (*_TEXTS.split(), "direction")),
        th.Property("durationMinutes", th.IntegerType),
        th.Property(
            "contacts",
            th.ArrayType(th.ObjectType(*(th.Property(name, th.StringType) for name in _CONTACT.split()))),
        ),
    ).to_dict()

    def get_records(self, context: Any) -> Iterable[records.Row]:
        """Yield the records that changed since the bookmark."""
        for page in records.pages(self.get_starting_replication_key_value(context) or ""):
            for row in page:
                yield {"changed": row["changed"], **records.activity(row)}


class BenchTap(Tap):  # type: ignore[misc]
    """Offer the one stream."""

    name = "tap-bench"
    config_jsonschema = th.PropertiesList().to_dict()

    def discover_streams(self) -> list[Calls]:
        """Return the one stream."""
        return [Calls(self)]


if __name__ == "__main__":
    BenchTap.cli()
