"""Bring the records into drt, as a plug-in source.

Its own rest_api destination sends them. drt finds `register` by its entry point (docs/guides/plugins.md) and reads a
source row by row.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from drt.connectors.registry import register_source

from tests.bench.peers.programs import records


@dataclass
class Profile:
    """The table of profiles.yml."""

    type: str

    def describe(self) -> str:
        """Return the text that drt prints."""
        return self.type


class Source:
    """Yield each record as Recotap takes it, with the time of its change for drt's watermark."""

    def extract(self, query: str, config: Any, *, query_tags: dict[str, str] | None = None) -> Iterator[records.Row]:
        """Yield all records, whatever the query says."""
        return self.extract_incremental(query, config, None)

    def extract_incremental(
        self, query: str, config: Any, cursor_value: str | None, *, query_tags: dict[str, str] | None = None
    ) -> Iterator[records.Row]:
        """Yield the records that changed after `cursor_value`."""
        for page in records.pages(cursor_value or ""):
            for row in page:
                yield {"changed": row["changed"], "activity": records.activity(row)}

    def test_connection(self, config: Any) -> bool:
        """Say that it can be reached."""
        return True


def register() -> None:
    """Tell drt of the source."""
    register_source("bench", Profile, Source)
