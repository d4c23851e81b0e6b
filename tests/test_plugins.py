"""A connector that somebody else's package brings: found by its entry point, without a change to syncd."""

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from syncd.connector import Source
from tests.world import World

ROOT = Path(__file__).parents[1]
CALL = {
    "id": "7", "at": "2026-10-05T07:00:00Z", "changed": "2026-10-05T08:00:00Z", "title": "Discovery",
    "rep": "ada@lanternfield-sales.com", "with": ["kaya@amber-bolts.com"], "account": "amber-bolts.com",
}  # fmt: skip


@pytest.fixture
def first_connector() -> str:
    """Return the connector that connectors/README.md shows, word for word, as a stranger copies it."""
    blocks = re.findall(r"(?ms)^```python\n(.*?)^```", (ROOT / "connectors" / "README.md").read_text(encoding="utf-8"))
    return str(next(block for block in blocks if "class MyCrm" in block))


def test_the_documents_first_connector_delivers(tmp_path: Path, first_connector: str) -> None:
    names: dict[str, Any] = {}
    exec(first_connector, names)
    export = tmp_path / "export.json"
    export.write_text(json.dumps([CALL]))
    table = {"connector": "mycrm", "start": datetime(2026, 1, 1, tzinfo=UTC), "path": str(export)}
    source = Source("mycrm", names["MyCrm"].Config(**table), names["MyCrm"])
    with World(tmp_path) as world:
        assert world.sync(sources=[source]).exit_code == 0
        assert world.payload("7")["callTitle"] == "Discovery"
        assert world.sync(sources=[source]).totals.posts == 0
        late = {**CALL, "id": "8", "with": []}
        export.write_text(json.dumps([CALL, late]))
        world.later(minutes=5)
        world.sync(sources=[source])
        assert world.state("8") == "incomplete no_contact"
        export.write_text(json.dumps([CALL, {**late, "with": ["oda@amber-bolts.com"]}]))
        world.later(minutes=16)
        world.sync(sources=[source])
        assert world.delivered == {"7", "8"}
        export.unlink()
        outcome = world.sync(sources=[source])
        assert (outcome.exit_code, outcome.errors[0].hint) == (69, "does it exist?")


def test_an_installed_package_adds_a_connector(live: World, tmp_path: Path, first_connector: str) -> None:
    site = tmp_path / "site"
    metadata = site / "my_crm-1.0.dist-info"
    metadata.mkdir(parents=True)
    (site / "my_crm.py").write_text(first_connector)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my-crm\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[syncd.connectors]\nmycrm = my_crm:MyCrm\n")
    export = tmp_path / "export.json"
    export.write_text(json.dumps([CALL]))
    live.configure("sources.ours", connector="mycrm", start=datetime(2026, 1, 1, tzinfo=UTC), path=str(export))
    live.write_config()

    def run(*line: str) -> "subprocess.CompletedProcess[str]":
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}
        command = [sys.executable, "-m", "syncd", *line, "-c", str(live.config_file)]
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)

    checked = run("check")
    assert (checked.returncode, "ours: export: 1 calls" in " ".join(checked.stdout.split())) == (0, True), checked
    done = run("sync")
    assert done.returncode == 0, done.stderr
    assert live.delivered == {"7"}
    mistaken = run("sync", "--source", "theirs")
    assert mistaken.returncode != 0
    assert "ours" in mistaken.stderr
