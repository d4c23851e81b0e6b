"""The comparison with syncd's peers: a figure counts only if each record arrived once."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from syncd import clock
from syncd.ledger import LedgerHandle
from tests.bench import ledger, peers
from tests.bench.measure import Figure, measure
from tests.bench.peers import table, venvs
from tests.bench.peers.registry import REGISTRY, Pipeline, Program, Run
from tests.bench.peers.rounds import Sample, void
from tests.ledgers import ask, counted, kept

ROOT = Path(__file__).parents[1]
WHOLE = {"distinct": 400, "received": 400, "largest": 50}


def program(code: str) -> Program:
    """Return a program that runs `code` before it sends the records."""

    def prepare(run: Run) -> tuple[Pipeline, dict[str, str]]:
        head = "from tests.bench.peers.programs import bare, records\n"
        return [[run.python, "-c", f"{head}{code}\nbare.main()"]], {}

    return Program("fake", None, prepare)


@pytest.fixture
def compared(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def compare(code: str = "", *, results: bool = False) -> tuple[int, str, str]:
        found = peers.compare(
            (), rounds=1, records=120, latencies=[0], registry={"fake": program(code)}, results=results, compiling=False
        )
        said = capsys.readouterr()
        return found, said.out, said.err

    return compare


def test_syncd_and_the_bare_loop_do_the_same_work():
    """400 records are 8 POSTs of 100 ms: the bare loop sends them one after another."""
    done = subprocess.run(
        [sys.executable, "tests/bench", "--peers", "--only", "bare", "syncd", "--records", "400", "--rounds", "1",
         "--latency-ms", "100"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "**400 records, with 100 ms a POST, median of 1**" in done.stdout
    rows = [[cell.strip() for cell in line.split("|")] for line in done.stdout.splitlines()]
    (bare,), (syncd,) = ([row for row in rows if row[1:2] == [REGISTRY[name].label]] for name in ("bare", "syncd"))
    assert float(bare[2]) >= 0.8
    assert bare[9] == "1"
    assert float(syncd[4]) > 0.1, "seconds of CPU"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("", ""),
        ("records.total = lambda: 119", "119 activities arrived, 119 different, instead of 120"),
        ("bare.main(); (bare.Path('bare.db')).unlink()", "240 activities arrived, 120 different, instead of 120"),
        ("records.BATCH = 51", "a POST of 51"),
        ("records.activity = lambda row: {'externalActivityId': 'x'}", "120 activities arrived, 1 different"),
        ("bare.sqlite3.connect = None", "exit code 1"),
    ],
)
def test_a_run_counts_only_if_each_record_arrived_once(compared, code, reason):
    found, out, err = compared(code)
    assert found == (1 if reason else 0)
    assert ("| fake | void |" in out) == bool(reason)
    assert reason in err


def test_results_are_kept_unless_a_run_was_void(compared, monkeypatch, tmp_path):
    file = tmp_path / "RESULTS.md"
    monkeypatch.setattr(table, "RESULTS", file)
    file.write_text(f"above\n{table.BEGIN}\nold\n{table.END}\nbelow\n")
    compared("records.BATCH = 51", results=True)
    assert "old" in file.read_text()
    compared(results=True)
    text = file.read_text()
    assert text.startswith("above\n")
    assert text.endswith("\nbelow\n")
    assert "| fake |" in text
    assert "old" not in text
    compared(results=True)
    assert file.read_text().count("| fake |") == 1


def test_the_results_have_a_place_for_the_tables():
    text = table.RESULTS.read_text(encoding="utf-8")
    assert text.index(table.BEGIN) < text.index(table.END)


def test_a_figure_is_void_for_what_the_sink_has_not_counted():
    figure = Figure(1.0, 1.0, 1.0, 0)
    assert void(figure, WHOLE, 400) == ""
    assert void(Figure(1.0, 1.0, 1.0, 77), WHOLE, 400) == "exit code 77"
    for name, wrong in (("distinct", 399), ("received", 401), ("largest", 51)):
        assert void(figure, WHOLE | {name: wrong}, 400), name


def test_the_table_compares_medians_with_drt():
    def samples(*runs: tuple[float, float, float]) -> list[Sample]:
        return [Sample(Figure(*run, 0), 4) for run in runs]

    programs = {name: REGISTRY[name] for name in ("drt", "syncd", "dlt")}
    drt = samples((2.0, 2.0, 60.0), (9.0, 9.0, 90.0), (1.0, 1.0, 50.0))
    found = table.table(programs, {"drt": drt, "syncd": samples((1.0, 3.0, 80.0)), "dlt": []}).splitlines()
    assert found[-3:] == [
        "| drt-core 1.2.1 | 2.00 | 1.00 to 9.00 | 2.00 | 60 | 1.00 | 1.00 | 1.00 | 4 |",
        "| syncd | 1.00 | 1.00 to 1.00 | 3.00 | 80 | 0.50 | 1.50 | 2.00 | 4 |",
        "| dlt 1.31.0 | void | | | | | | | |",
    ]
    assert {line.count("|") for line in found} == {10}


def test_a_pipeline_is_measured_whole():
    busy = "import time; end = time.process_time() + 0.2\nwhile time.process_time() < end: pass\n"
    writer = [sys.executable, "-c", f"{busy}print('word')"]
    reader = [sys.executable, "-c", f"{busy}import sys; sys.exit(3 if sys.stdin.read() == 'word\\n' else 4)"]
    figure = measure([writer, reader], {})
    assert figure.exit_code == 3
    assert figure.cpu_s >= 0.4
    assert figure.peak_mib > 10


def test_an_environment_is_made_once_for_each_lock_file(tmp_path, monkeypatch):
    made = []

    def build(place: Path, peer: str) -> None:
        place.mkdir(parents=True)  # fails if an earlier one is still there
        made.append(peer)
        if len(made) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        venvs.python_of("dlt", tmp_path, build)
    for peer in ("dlt", "dlt", "singer-sdk", "dlt"):
        assert venvs.python_of(peer, tmp_path, build) == str(tmp_path / peer / "bin" / "python")
    assert made == ["dlt", "dlt", "singer-sdk"]
    monkeypatch.setattr(venvs, "LOCKS", tmp_path)
    venvs.lock_of("dlt").write_text("dlt==1.31.1")
    for _ in range(2):
        venvs.python_of("dlt", tmp_path, build)
    assert made == ["dlt", "dlt", "singer-sdk", "dlt"]


def test_no_environment_is_made_in_the_repository(tmp_path):
    (tmp_path / "link").symlink_to(ROOT)
    for folder in (ROOT, ROOT / "build" / "peers", tmp_path / "link"):
        with pytest.raises(ValueError, match="repository"):
            venvs.python_of("dlt", folder, lambda *_: pytest.fail("made"))


def test_every_peer_comes_by_the_hashes_of_its_lock_file():
    peers_of = {each.peer: each.label for each in REGISTRY.values() if each.peer}
    assert {file.name for file in venvs.LOCKS.iterdir()} == {f"{peer}.txt" for peer in peers_of}
    for peer, label in peers_of.items():
        text = venvs.lock_of(peer).read_text(encoding="utf-8")
        assert f"\n{peer}=={label.rpartition(' ')[2]} " in text
        assert not re.search(r"://|--(extra-)?index|--find-links|--trusted-host|@ ", text)
        for entry in re.split(r"(?m)^(?=[a-z0-9])", text)[1:]:
            assert "--hash=sha256:" in entry, entry


def test_a_ledger_that_the_bench_fills_is_one_that_syncd_could_have_written(tmp_path):
    path = tmp_path / "ledger.db"
    with LedgerHandle(path).open() as opened:
        opened.stream_id("hubspot", "calls")
    for _ in range(2):
        ledger.fill(path, 1000)
    assert kept(path) == counted(path)
    with LedgerHandle(path).open() as opened:
        assert opened.balanced()
        assert opened.counts() == {
            "pending": 2, "incomplete": 28, "delivered": 1760, "skipped": 30, "excluded": 120, "dead": 60
        }  # fmt: skip
        assert opened.due(50, first_post=10**6, now=clock.now()) == [], "a pass has nothing to send"
        assert opened.due_look_ups("hubspot", "calls", now=clock.now(), limit=9) == []
    assert ask(path, "PRAGMA foreign_key_check") == []


def test_the_bench_measures_a_migration():
    assert 0 < ledger.migration(2000) < 60
