"""Name the programs that do the same work, and prepare one run of each."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.bench.measure import SYNCD
from tests.bench.peers.venvs import ROOT

PROGRAMS = Path(__file__).parent / "programs"
Pipeline = list[list[str]]


@dataclass(frozen=True)
class Run:
    """Hold the place and the partner of one run."""

    python: str  # of the program's environment
    folder: Path  # empty; the run's working directory, home and state
    sink: str  # URL without a path


@dataclass(frozen=True)
class Program:
    """Describe a program that delivers the records."""

    label: str
    peer: str | None  # its distribution, which has a lock file; None: it runs in syncd's own environment
    prepare: Callable[[Run], tuple[Pipeline, Mapping[str, str]]]  # commands, and the environment beside `environ`


def environ(run: Run, records: int) -> dict[str, str]:
    """Return the environment of every program.

    It leaves out the user's home and configuration, and Python's settings, so that bytecode is written and used.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SYNCD_", "XDG_"))}
    return {
        **kept, "HOME": str(run.folder), "PYTHONPATH": str(ROOT), "BENCH_FOLDER": str(run.folder),
        "BENCH_RECORDS": str(records), "BENCH_SINK": run.sink,
    }  # fmt: skip


def _script(run: Run, name: str, *arguments: str) -> list[str]:
    return [run.python, str(PROGRAMS / name), *arguments]


def _bare(run: Run) -> tuple[Pipeline, Mapping[str, str]]:
    return [_script(run, "bare.py")], {}


def _dlt(run: Run) -> tuple[Pipeline, Mapping[str, str]]:
    return [_script(run, "dlt_pipeline.py")], {"RUNTIME__DLTHUB_TELEMETRY": "false"}


def _singer(run: Run) -> tuple[Pipeline, Mapping[str, str]]:
    config = run.folder / "config.json"
    config.write_text("{}")
    return [_script(run, each, "--config", str(config)) for each in ("singer_tap.py", "singer_target.py")], {}


DRT_SYNC = """
name: calls
model: SELECT 1
destination:
  type: rest_api
  url: {sink}/api/v1/sales-activities
  method: POST
  headers: {{ Content-Type: application/json, x-api-key: bench }}
  body_mode: batch
  batch_template: '{{"activities": {{{{ rows | map(attribute="activity") | list | tojson_safe }}}} }}'
  max_records_per_request: 50
sync:
  mode: incremental
  cursor_field: changed
  batch_size: 1000  # drt makes a client for each batch: with 100, its default, it needs four times the CPU
  rate_limit: {{ requests_per_second: 0 }}
"""


def _drt(run: Run) -> tuple[Pipeline, Mapping[str, str]]:
    plug_in = _plug_in(run.folder, "drt.sources", "tests.bench.peers.programs.drt_source:register")
    for name in ("syncs", ".drt"):
        (run.folder / name).mkdir()
    (run.folder / "drt_project.yml").write_text('name: bench\nversion: "0.1"\nprofile: bench\n')
    (run.folder / ".drt" / "profiles.yml").write_text("bench:\n  type: bench\n")
    (run.folder / "syncs" / "calls.yml").write_text(DRT_SYNC.format(sink=run.sink))
    return [[str(Path(run.python).with_name("drt")), "run"]], plug_in


def _syncd(run: Run) -> tuple[Pipeline, Mapping[str, str]]:
    plug_in = _plug_in(run.folder, "syncd.connectors", "tests.bench.peers.programs.syncd_connector:Bench")
    file = run.folder / "syncd.toml"
    file.write_text(
        f"""
        [recotap]
        base_url = {json.dumps(f"{run.sink}/api/v1")}
        api_key = "env:BENCH_KEY"
        [ledger]
        path = {json.dumps(str(run.folder / "ledger.db"))}
        [rules]
        own_domains = ["lanternfield-sales.com"]
        [sources.bench]
        connector = "bench"
        start = 2026-01-01T00:00:00Z
        """
    )
    return [[*SYNCD, "sync"]], {**plug_in, "SYNCD_CONFIG": str(file), "BENCH_KEY": "bench"}


def _plug_in(folder: Path, group: str, target: str) -> dict[str, str]:
    """Install an entry point named `bench`. Return the environment that lets Python find it."""
    metadata = folder / "site" / "bench_plug_in-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: bench-plug-in\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[{group}]\nbench = {target}\n")
    return {"PYTHONPATH": os.pathsep.join([str(metadata.parent), str(ROOT)])}


REGISTRY = {
    "bare": Program("a bare loop of httpx and sqlite3, no books", None, _bare),
    "drt": Program("drt-core 1.2.1", "drt-core", _drt),
    "syncd": Program("syncd", None, _syncd),
    "dlt": Program("dlt 1.31.0", "dlt", _dlt),
    "singer": Program("Meltano's Singer SDK 0.54.9", "singer-sdk", _singer),
}
