"""Measure what grows with the ledger: commands, passes and the migration, over ledgers of up to millions of rows.

The rows are written by SQL: of 1,000, 880 are delivered, 60 excluded, 30 dead, 15 skipped, 14 incomplete and one is
backed off. Nothing of them is due within the day, so a pass has only its own work.
"""

import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from syncd import clock
from syncd.ledger import LedgerHandle, schema
from tests.bench.measure import SYNCD
from tests.world import World

BATCH = 50
MIGRATED = 1_000_000
BOUNDS = {"ledger recount": "none", "ledger copy --keep": "120 s for 1,000,000"}
_ROWS = """
    WITH RECURSIVE numbers (n) AS (SELECT :first UNION ALL SELECT n + 1 FROM numbers WHERE n < :last)
    INSERT INTO activities (id, stream_id, crm_id, external_activity_id, kind, state, reason, verdict, modified_at,
        occurred_at, first_seen_at, next_attempt_at, waiting_since, refusals, last_post)
    SELECT n, :stream, printf('%011d', n), printf('hubspot-call-%011d', n), 'call', state,
        CASE state WHEN 'excluded' THEN 'internal' WHEN 'dead' THEN iif(n % 2, 'no_domain', 'refused')
            WHEN 'incomplete' THEN 'no_contact' END,
        CASE state WHEN 'delivered' THEN iif(n % 100 = 7, 'duplicate', 'created') WHEN 'skipped' THEN 'skipped'
            WHEN 'pending' THEN 'failed' END,
        :at, :at, :at, CASE WHEN state = 'pending' OR state = 'incomplete' THEN :later END,
        iif(state = 'incomplete', :at, NULL), state = 'pending',
        iif(state = 'delivered' OR state = 'pending', 1 + n / 50, 0)
    FROM (SELECT n, CASE WHEN n % 1000 < 880 THEN 'delivered' WHEN n % 1000 < 940 THEN 'excluded'
        WHEN n % 1000 < 970 THEN 'dead' WHEN n % 1000 < 985 THEN 'skipped' WHEN n % 1000 < 999 THEN 'incomplete'
        ELSE 'pending' END AS state FROM numbers)
"""
_POSTS = """
    WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n <= :rows / 50)
    INSERT OR IGNORE INTO posts (id, at, finished_at) SELECT n, :at, :at FROM numbers
"""
_PAYLOADS = (
    "INSERT INTO payloads (activity_id, body) "
    "SELECT id, printf('%500d', id) FROM activities WHERE state = 'pending' AND id > :first"
)
_ACCOUNTS = """
    UPDATE activities SET domain = printf('account-%d.example', id % 5000), owner_id = printf('%d', 1000 + id % 50)
    WHERE id >= :first
"""
_COUNTS = """
    INSERT INTO counts (stream_id, state, reason, verdict, changed, n)
    SELECT stream_id, state, coalesce(reason, ''), coalesce(verdict, ''), changed_after_delivery, count(*)
    FROM activities GROUP BY 1, 2, 3, 4, 5
"""


def fill(path: Path, rows: int, *, stream: int = 1) -> None:
    """Add `rows` rows to a ledger, whichever its schema is. Nobody else may have it open."""
    now = datetime.now(UTC)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for pragma in ("synchronous = OFF", "cache_size = -200000"):
            db.execute(f"PRAGMA {pragma}")
        first = db.execute("SELECT coalesce(max(id), 0) + 1 FROM activities").fetchone()[0]
        values = {
            "first": first, "last": first + rows - 1, "rows": rows, "stream": stream,
            "at": clock.text(now - timedelta(days=3)), "later": clock.text(now + timedelta(hours=20)),
        }  # fmt: skip
        db.execute("BEGIN")
        for sql in (_POSTS, _ROWS, _PAYLOADS):
            db.execute(sql, values)
        db.execute("UPDATE streams SET seen = seen + ? WHERE id = ?", (rows, stream))
        if db.execute("PRAGMA user_version").fetchone()[0] >= 5:
            db.execute(_ACCOUNTS, values)
            db.execute("DELETE FROM counts")
            db.execute(_COUNTS)
        db.execute("COMMIT")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def best(config: Path, *command: str, times: int = 3, exits: Sequence[int] = (0,)) -> float:
    """Return the least seconds of a command. AssertionError for another exit code."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        done = subprocess.run([*SYNCD, *command, "-c", str(config)], capture_output=True, text=True, check=False)
        took.append(time.perf_counter() - began)
        assert done.returncode in exits, done.stderr
    return min(took)


def commands(rows: int) -> dict[str, float]:
    """Return the seconds of each command, and of passes, over a ledger of `rows` rows."""
    with tempfile.TemporaryDirectory() as folder, World(Path(folder), real_time=True) as world:
        config = world.write_config()
        world.call()
        best(config, "sync", times=1)
        fill(world.ledger, rows)
        some = f"{rows // 2:011d}"
        found = {
            "status": best(config, "status"),
            "explain, by Recotap's id": best(config, "explain", f"hubspot-call-{some}"),
            "explain, by the CRM's id": best(config, "explain", some),
            "list, the latest": best(config, "list"),
            "list, nothing matches": best(config, "list", "--owner", "1", "--domain", "nobody.example"),
            "failures": best(config, "failures"),
            "passes": best(config, "passes"),
            "health": best(config, "health", exits=(69,)),  # no daemon holds the ledger
            "an idle pass": best(config, "sync"),
        }
        batches = []
        for _ in range(3):
            ago, happened = timedelta(minutes=2), datetime.now(UTC) - timedelta(hours=1)
            calls = [world.call(ago=ago, happened=happened) for _ in range(BATCH)]
            batches.append(best(config, "sync", times=1))
            assert set(calls) <= world.delivered
        found[f"a pass with {BATCH} new calls"] = min(batches)
        found["ledger recount"] = best(config, "ledger", "recount", times=1)
        copied = str(world.ledger), str(Path(folder) / "copy.db")
        found["ledger copy --keep"] = best(config, "ledger", "copy", "--keep", *copied, times=1)
        assert world.status()["balanced"]
    return found


def migration(rows: int) -> float:
    """Return the seconds that a ledger of schema 4 with `rows` rows takes to become a current one."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
            db.execute("PRAGMA journal_mode = WAL")
            for statement in (*schema.V1, *schema.V2, *schema.V3, *schema.V4):
                db.execute(statement)
            db.execute("PRAGMA user_version = 4")
            db.execute("INSERT INTO streams (source, stream) VALUES ('hubspot', 'calls')")
        path.chmod(0o600)
        fill(path, rows)
        began = time.perf_counter()
        with LedgerHandle(path).open() as ledger:
            took = time.perf_counter() - began
            assert ledger.balanced()
    return took


def ledger(sizes: Sequence[int]) -> None:
    """Print the figures for each size, and how they compare with the first."""
    took = migration(MIGRATED)
    print(f"{f'migration of {MIGRATED:,} rows from schema 4':<46} {took:6.2f} s   bound: 60 s", flush=True)
    first: dict[str, float] = {}
    for rows in sizes:
        found = commands(rows)
        first = first or found
        for what, seconds in found.items():
            is_pass = "pass" in what
            bound = BOUNDS.get(what, "1.2 times the first" if is_pass else "0.6 s")
            ratio = f"{seconds / first[what]:5.2f} times"
            print(f"{f'{rows:>9,} rows: {what}':<46} {seconds:6.2f} s {ratio}   bound: {bound}", flush=True)
