"""The core of the suite: the promises of every connector, over its author's sandbox."""

from syncd.testing.conduct import ConductConformance
from syncd.testing.passes import PassConformance
from syncd.testing.records import RecordConformance
from syncd.testing.windows import WindowConformance


class ConnectorConformance(ConductConformance, WindowConformance, PassConformance, RecordConformance):
    """Windows, passes, records and conduct. A subclass provides a fixture `crm`.

    Each test's docstring states the promise.
    """


__all__ = ["ConnectorConformance"]
