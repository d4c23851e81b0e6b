"""The conformance suite: what every connector must do, over a sandbox of its author's.

    import pytest
    from syncd.testing import ConnectorConformance, NetworkConformance

    class TestMyCrm(ConnectorConformance, NetworkConformance):
        @pytest.fixture
        def crm(self, tmp_path):
            with MySandbox(tmp_path) as sandbox:
                yield sandbox  # a NetworkCrm: see crm.py for what it must be able to do

`ConnectorConformance` alone is for a connector that asks nobody over a network; its sandbox is a `Crm`.
Nothing here imports pytest: each test is a method that takes the sandbox and asserts.
"""

from syncd.testing.core import ConnectorConformance
from syncd.testing.crm import FAULTS, RETRY_AFTER_S, Crm, FaultName, NetworkCrm
from syncd.testing.network import NetworkConformance

__all__ = [
    "FAULTS",
    "RETRY_AFTER_S",
    "ConnectorConformance",
    "Crm",
    "FaultName",
    "NetworkConformance",
    "NetworkCrm",
]
