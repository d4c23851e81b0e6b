"""The conformance suite: the tests that every connector passes, over a sandbox by its author.

    import pytest
    from syncd.testing import ConnectorConformance, NetworkConformance

    class TestMyCrm(ConnectorConformance, NetworkConformance):
        @pytest.fixture
        def crm(self, tmp_path):
            with MySandbox(tmp_path) as sandbox:
                yield sandbox  # a NetworkCrm, as crm.py defines it

A connector that uses no network takes `ConnectorConformance` alone. Its sandbox is a `Crm`.
This package does not import pytest. Each test is a method that takes the sandbox and asserts.
"""

from syncd.testing.core import ConnectorConformance
from syncd.testing.crm import FAULTS, PARTIAL_FAULTS, RETRY_AFTER_S, Crm, FaultName, NetworkCrm, PartialFault
from syncd.testing.network import NetworkConformance

__all__ = [
    "FAULTS",
    "PARTIAL_FAULTS",
    "RETRY_AFTER_S",
    "ConnectorConformance",
    "Crm",
    "FaultName",
    "NetworkConformance",
    "NetworkCrm",
    "PartialFault",
]
