"""Test the status page in a real Chromium: `python tests/deployed/web/pages.py [--out DIR]`.

Serves ledgers of 0, 1,000 and a million rows, healthy and broken in six ways, and opens each page at 390 and 1280 px in
light and dark mode. Fails if Chromium's console has a message, if axe-core finds a violation, if text is wider than the
screen, or if a page of a million rows takes longer than 100 ms. Prints a line for each check. DIR gets the screenshots.
Needs Debian's chromium, node and npm, which installs puppeteer-core and axe-core into a temporary directory. If one is
missing, it says so and exits with 0, or fails with --must. Takes about three minutes.
"""

import argparse
import json
import logging
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

import structlog

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from syncd import clock  # noqa: E402 # a command, run as a file
from tests.bench import ledger  # noqa: E402
from tests.pages import Client, served  # noqa: E402
from tests.world import World  # noqa: E402

BROWSER = Path(__file__).with_name("browser.mjs")
TOOLS = ("chromium", "node", "npm")
FIRST_BYTE_S = 0.1
TIMES = 6  # a page is asked for, each time after the kept answer has aged
Break = Callable[[World], None]

# Kinds of rows as the daily count keeps them.
SCOPE = {
    "since": "2026-11-01T00:00:00.000Z", "warnings": [],
    "kinds": [
        {"object": "Task", "fields": {"TaskSubtype": "Task", "Type": name}, "count": count, "read_as": None,
         "approximate": False}
        for name, count in (("Call", 321), ("Survey", 4))
    ],
}  # fmt: skip


def filled(rows: int) -> Break:
    """Return a function that gives a ledger `rows` rows, delivered over 90 days, and kinds that are not read."""

    def fill(world: World) -> None:
        if rows:
            ledger.fill(world.ledger, rows)
            deliver(world, rows)
            world.sql(
                "INSERT OR REPLACE INTO store VALUES "
                f"('hubspot', '@scope', '{json.dumps(SCOPE)}', '{clock.text(world.now())}')"
            )

    return fill


def deliver(world: World, rows: int) -> None:
    """Count deliveries on each of the last 90 days, as if `rows` had been delivered over them."""
    for back in range(90):
        day = (world.now() - timedelta(days=back)).date().isoformat()
        share = rows * (3 + back * 37 % 11 - (back % 7 in (1, 2)) * 3) // 1000
        for since, within in (("seen", 60), ("seen", 900), ("occurred", 3600), ("occurred", 86_400)):
            world.sql(f"INSERT OR IGNORE INTO days VALUES ('{day}', 1, '{since}', {within}, {share // 2 + 1})")


def unbalanced(world: World) -> None:
    world.sql("DELETE FROM activities WHERE id = 1")


def down(world: World) -> None:
    at = clock.text(world.now() - timedelta(days=2))
    world.sql(f"UPDATE streams SET last_success_at = '{at}', last_error = 'no connection to api.hubapi.com: timed out'")


def refused(world: World) -> None:
    (text,) = world.sql("SELECT value FROM store WHERE source = '@recotap' AND key = '@sending'")[0]
    kept = json.loads(text) | {"exit_code": 77, "last_error": "Recotap refuses the key (401)"}
    world.sql(f"UPDATE store SET value = '{json.dumps(kept)}' WHERE source = '@recotap' AND key = '@sending'")
    world.sql("UPDATE passes SET exit_code = 77 WHERE id = (SELECT max(id) FROM passes)")


def paused(world: World) -> None:
    until = clock.text(world.now() + timedelta(hours=3))
    world.sql(f"INSERT INTO pauses (name, until, reason) VALUES ('hubspot', '{until}', 'the daily limit is used up')")


def gap(world: World) -> None:
    again = f"'{clock.text(world.now() + timedelta(hours=1))}'"
    for number, why in enumerate(("gap", "start", "backfill")):
        error, after = ("'the server answered 500'", again) if why == "gap" else ("NULL", "NULL")
        since, until, read = (clock.text(world.now() - timedelta(days=days)) for days in (40, 10, 30 - 9 * number))
        world.sql(
            "INSERT INTO ranges (stream_id, since, until, why, read_to, created_at, last_error, next_attempt_at) "
            f"VALUES (1, '{since}', '{until}', '{why}', '{read}', '{since}', {error}, {after})"
        )


def gone(world: World) -> None:
    world.ledger.unlink()


BROKEN: dict[str, Break] = {
    "unbalanced": unbalanced, "key-refused": refused, "source-down": down, "paused": paused, "spans": gap,
    "no-ledger": gone,
}  # fmt: skip


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    options.add_argument("--out", type=Path, help="a directory for the screenshots")
    options.add_argument("--rows", type=int, default=1_000_000, help="of the largest ledger")
    options.add_argument("--must", action="store_true", help="fail if a tool is missing")
    options.add_argument("--modules", type=Path, help="a directory with node_modules that has the two packages")
    given = options.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with tempfile.TemporaryDirectory() as folder:
        modules = given.modules or Path(folder) / "npm"
        if missing := absent(modules):
            print(f"skipped: {missing}")
            return int(given.must)
        out = given.out or Path(folder) / "out"
        out.mkdir(parents=True, exist_ok=True)
        failed = [line for line, is_well in checks(Path(folder), modules, out, given.rows) if say(line, is_well)]
    print(f"{len(failed)} failed" if failed else "all passed")
    return int(bool(failed))


def absent(modules: Path) -> str:
    """Return what is missing, or "". Installs the packages of npm unless `modules` has them."""
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        return f"{', '.join(missing)} not found"
    if (modules / "node_modules").is_dir():
        return ""
    modules.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(BROWSER.with_name(name), modules)
    line = ["npm", "ci", "--no-audit", "--no-fund", "--silent"]
    done = subprocess.run(line, cwd=modules, capture_output=True, text=True)
    return "npm could not install puppeteer-core and axe-core" if done.returncode else ""


def say(line: str, is_well: bool) -> bool:
    """Print a check, and return whether it failed."""
    print(f"{'ok  ' if is_well else 'FAIL'} {line}", flush=True)
    return not is_well


def checks(folder: Path, modules: Path, out: Path, rows: int) -> Iterator[tuple[str, bool]]:
    """Serve every ledger at once, and yield each check with its result."""
    each = {"0-rows": filled(0), "1000-rows": filled(1000), f"{rows}-rows": filled(rows)}
    with ExitStack() as stack:
        clients: dict[str, Client] = {}
        for name, spoil in (each | BROKEN).items():
            world = stack.enter_context(World(prepared(folder / name), real_time=True))
            world.calls(3 if name != "0-rows" else 0)
            world.sync()
            if name in BROKEN:
                filled(1000)(world)
            spoil(world)
            clients[name] = stack.enter_context(served(world))[1]
        yield from first_bytes(clients)
        pages = [(name, client, "/") for name, client in clients.items()]
        some = clients["1000-rows"]
        pages += [("activity", some, "/activity?id=00000000981"), ("unknown", some, "/activity?id=4711")]
        pages += [("lost", some, "/lost")]
        urls = [{"name": name, "url": f"http://127.0.0.1:{client.port}{path}"} for name, client, path in pages]
        yield from map(judged, browsed(urls, modules, out))


def prepared(path: Path) -> Path:
    path.mkdir()
    return path


def first_bytes(clients: dict[str, Client]) -> Iterator[tuple[str, bool]]:
    """Time each healthy page until its answer is there. Each time it is computed."""
    for name, client in clients.items():
        if name in BROKEN:
            continue
        took = []
        for _ in range(TIMES):
            time.sleep(1.1)
            began = time.perf_counter()
            client()
            took.append(time.perf_counter() - began)
        shown = f"median {median(took) * 1000:.0f} ms, most {max(took) * 1000:.0f} ms"
        yield f"{name}: the whole page in {shown}", median(took) < FIRST_BYTE_S


def browsed(pages: list[dict[str, str]], modules: Path, out: Path) -> list[dict[str, Any]]:
    chromium = shutil.which("chromium") or ""
    line = ["node", str(BROWSER), chromium, str(out.resolve())]
    done = subprocess.run(line, cwd=modules, input=json.dumps(pages), capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def judged(each: dict[str, Any]) -> tuple[str, bool]:
    """Return a page's check: it is well if nobody complains."""
    wrong = [*each["messages"], *(f"{one['id']}: {one['nodes'][:3]}" for one in each["violations"])]
    wrong += [f"wider than the screen by {each['wider_by_px']} px"] if each["wider_by_px"] > 0 else []
    place = f"{each['name']} at {each['width']} px, {each['scheme']} ({each['status']}, {each['rules']} rules)"
    return f"{place}{''.join(f'; {one}' for one in wrong)}", not wrong


if __name__ == "__main__":
    sys.exit(main())
