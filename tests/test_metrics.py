"""The metrics: what they say is what the ledger's counts say, they cost nothing per row, and name nobody."""

import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from syncd import clock
from syncd.config import Config
from syncd.ledger import LedgerHandle
from syncd.lifecycle.reasons import Reason
from syncd.lifecycle.states import State, Verdict
from syncd.metrics import gather, render
from syncd.metrics.families import MOST_KINDS, OPENMETRICS_TYPE, TEXT_TYPE, families
from syncd.reporting import health
from tests.conftest import Command
from tests.ledgers import NOW, book, reports, send
from tests.ledgers import reading as look
from tests.pages import served
from tests.world import OWN, THEIRS, World

ROOT = Path(__file__).parents[1]
PARSERS = {False: parse_text, True: parse_openmetrics}
LABELS = {
    "source",
    "stream",
    "state",
    "reason",
    "verdict",
    "step",
    "since",
    "why",
    "kind",
    "looks_like",
    "le",
    "version",
}
OPTIONAL = {"starlette", "jinja2", "uvicorn", "prometheus_client", "apprise"}


@dataclass(frozen=True)
class Samples:
    """The samples of one rendering."""

    all: list[Any]

    def __call__(self, name: str, **labels: str) -> float:
        """Return the sum of the samples of `name` that have these labels. There is at least one."""
        found = [each.value for each in self.all if each.name == name and labels.items() <= each.labels.items()]
        assert found, (name, labels)
        return float(sum(found))

    def has(self, name: str) -> bool:
        return any(each.name == name for each in self.all)


def samples(document: Mapping[str, Any], *, openmetrics: bool = True) -> Samples:
    text, _ = render(document, openmetrics=openmetrics)
    return Samples([each for family in PARSERS[openmetrics](text.decode()) for each in family.samples])


def gathered(world: World, config: Config | None = None) -> dict[str, Any]:
    with LedgerHandle(world.ledger).reports() as glance:
        return gather(glance, config or world.config(), world.now())


@pytest.fixture
def varied(world: World) -> World:
    """A ledger after a pass with deliveries, a refusal, an activity without a contact and one that was not sent."""
    calls = world.calls(5)
    world.recotap.rule("refuse", ids=[f"hubspot-call-{calls[0]}"])
    world.call(contacts=[])
    world.email()
    world.email(hs_email_status="BOUNCED")
    world.sync()
    return world


@pytest.mark.parametrize("openmetrics", [False, True])
def test_they_say_what_the_status_says(varied: World, openmetrics: bool) -> None:
    document = gathered(varied)
    of, status = samples(document, openmetrics=openmetrics), varied.status()
    assert {state: of("syncd_activities", state=state) for state in status["activities"]} == status["activities"]
    assert status["activities"] == {
        "pending": 1, "incomplete": 1, "delivered": 5, "skipped": 0, "excluded": 1, "dead": 0,
    }  # fmt: skip
    assert of("syncd_activities_seen_total") == status["seen"] == 8
    for verdict, count in status["verdicts"].items():
        assert of("syncd_deliveries_total", verdict=verdict) == count
    assert of("syncd_activities_by_reason", state="pending", reason="refused") == 1
    assert of("syncd_activities_by_reason", state="incomplete", reason="no_contact", stream="calls") == 1
    assert of("syncd_activities_by_reason", state="excluded", reason="not_sent", stream="emails") == 1
    assert of("syncd_pending_activities", step="refused") == 1
    assert of("syncd_ledger_balanced") == of("syncd_clock_confirmed") == of("syncd_passes_total") == 1
    assert of("syncd_posts_total") == varied.sql("SELECT count(*) FROM posts")[0][0] > 1
    assert of("syncd_ledger_size_bytes") == status["ledger"]["bytes"]
    assert of("syncd_last_pass_exit_code") == status["last_pass"]["exit_code"]
    assert of("syncd_running") == of("syncd_posts_unanswered") == of("syncd_recotap_key_refused") == 0
    assert of("syncd_oldest_pending_timestamp_seconds") == varied.now().timestamp()


def test_lateness_counts_the_deliveries_of_today_cumulatively(varied: World) -> None:
    of = samples(gathered(varied))
    name = "syncd_delivery_lateness_seconds_bucket"
    assert of(name, since="seen", le="10.0") == of(name, since="seen", le="+Inf") == 5
    assert of(name, since="occurred", le="14400.0") == 0, "the calls are of 20 hours ago, the email of five"
    assert of(name, since="occurred", le="86400.0") == of(name, since="occurred", le="+Inf") == 5
    varied.later(days=1)
    assert samples(gathered(varied))(name, le="+Inf") == 0


def test_a_pass_under_way_leaves_the_result_of_the_last_one(varied: World) -> None:
    with LedgerHandle(varied.ledger).open() as ledger:
        ledger.begin_pass(varied.now() + timedelta(minutes=5))
    of = samples(gathered(varied))
    assert (of("syncd_pass_under_way"), of("syncd_passes_total"), of("syncd_last_pass_exit_code")) == (1, 2, 0)
    assert of("syncd_last_pass_start_timestamp_seconds") == varied.now().timestamp() + 300
    assert of("syncd_last_pass_end_timestamp_seconds") == varied.now().timestamp()


def test_an_outage_shows_in_source_recotap_and_pauses(varied: World) -> None:
    with LedgerHandle(varied.ledger).open() as ledger:
        ledger.pause_until("hubspot", varied.now() + timedelta(hours=2), "the quota is used up", now=varied.now())
        ledger.keep("hubspot", {"quota_low": True}, varied.now())
    varied.sql("UPDATE streams SET last_error = 'no answer' WHERE stream = 'calls'")
    varied.sql("DELETE FROM activities WHERE id = 1")
    of = samples(gathered(varied))
    assert of("syncd_source_failing", stream="calls") == of("syncd_source_quota_low") == 1
    assert of("syncd_source_failing", stream="emails") == of("syncd_ledger_balanced") == 0
    assert (of("syncd_source_paused"), of("syncd_recotap_paused")) == (1, 0)
    assert of("syncd_source_pause_end_timestamp_seconds") == varied.now().timestamp() + 7200
    assert not of.has("syncd_recotap_pause_end_timestamp_seconds"), "a time that does not exist"


def test_a_range_shows_how_much_of_it_is_unread(varied: World) -> None:
    span = [clock.text(varied.now() - timedelta(hours=hours)) for hours in (20, 10, 12)]
    sql = "INSERT INTO ranges (stream_id, since, until, read_to, why, created_at) VALUES (1, ?, ?, ?, 'gap', '')"
    varied.sql(sql, *span)
    of = samples(gathered(varied))
    assert (of("syncd_ranges", why="gap"), of("syncd_ranges", why="backfill")) == (1, 0)
    assert of("syncd_ranges_unread_seconds", why="gap") == pytest.approx(2 * 3600)


@pytest.mark.parametrize("schedule", [{"every": "5m"}, {"every": "5s"}, {"cron": "0 * * * *"}])
@pytest.mark.parametrize("read", [True, False], ids=["read", "first import"])
def test_a_source_is_stale_at_the_moment_when_health_says_so(
    world: World, schedule: dict[str, str], read: bool
) -> None:
    world.configure("schedule", **schedule)
    world.call()
    world.sync()
    world.later(hours=2)
    world.sync()
    if not read:
        world.sql("UPDATE streams SET last_success_at = NULL")
    at = clock.instant(gathered(world)["stale_after"]["hubspot"])
    assert samples(gathered(world))("syncd_source_stale_after_timestamp_seconds") == at.timestamp()
    with LedgerHandle(world.ledger).hold("run"):
        for now, stale in ((at, False), (at + timedelta(milliseconds=1), True)):
            found = [each for each in health.findings(world.config(), now) if each.what == "fresh"]
            assert any("hubspot" in each.message and not each.ok for each in found) is stale


def test_a_source_that_no_pass_knows_is_stale_since_ever(varied: World) -> None:
    varied.configure("sources.hubspot")
    varied.configure("sources.another", **varied.source())
    of = samples(gathered(varied))
    assert of("syncd_source_stale_after_timestamp_seconds", source="another") == 0


def test_they_cost_as_much_over_eight_hundred_rows_as_over_twenty(tmp_path: Path, world: World) -> None:
    """Counted in instructions of SQLite's machine, so that no busy machine disturbs it."""
    config, steps = world.config(), []
    for rows in (20, 800):
        with LedgerHandle(tmp_path / f"{rows}.db").open() as ledger:
            for first in range(0, rows, 10):
                numbers = range(first, first + 10)
                book(
                    ledger,
                    *(look(number) for number in numbers[:6]),
                    *(look(n, State.DEAD, "unreadable") for n in numbers[6:]),
                )
                send(ledger, Verdict.CREATED if first % 20 else Verdict.SKIPPED)
            with LedgerHandle(tmp_path / f"{rows}.db").reports() as glance:
                done: Counter[str] = Counter()
                glance._db.conn.set_progress_handler(lambda done=done: done.update(steps=1), 1)  # type: ignore[misc]
                document = gather(glance, config, NOW)
            assert document["seen"] == rows
            steps.append(done["steps"])
    few, many = steps
    assert 0 < many < few * 1.05 + 50, steps


# -- labels -------------------------------------------------------------------------------


def test_labels_are_few_and_never_personal(varied: World) -> None:
    canary = "nadia.quillmark@amber-bolts.com +49305550100"
    document = gathered(varied)
    document["sources"] = [{**each, "last_error": canary} for each in document["sources"]]
    document["recotap"] |= {"last_error": canary, "host": canary}
    document["pauses"] = {"hubspot": {"until": document["at"], "reason": canary}}
    document["warnings"] = [{"source": "hubspot", "message": canary}]
    document["ranges"] = [{"source": "hubspot", "stream": "calls", "since": document["at"], "until": document["at"],
                           "why": "gap", "share": 0.0, "last_error": canary}]  # fmt: skip
    text = render(document, openmetrics=True)[0].decode()
    assert not [part for part in (*canary.split(), THEIRS, OWN, "@", "Discovery") if part in text]
    assert not [name for name in ("hubspot-call-", "hubspot-email-") if name in text]
    known = {*State, *Reason, *Verdict, "hubspot", "calls", "emails", "seen", "occurred", "due", "backing_off",
             "backfill", "gap", "start", document["version"]}  # fmt: skip
    found = samples(document).all
    assert {name for each in found for name in each.labels} <= LABELS
    values = {value for each in found for name, value in each.labels.items() if name != "le"}
    assert values <= {str(each) for each in known}


def test_a_crm_with_many_kinds_has_few_series(varied: World) -> None:
    likes = ["call"] * 3 + [None] * 197
    kinds = [{"source": "hubspot", "what": f"Task Type={number}", "count": 2, "looks_like": like}
             for number, like in enumerate(likes)]  # fmt: skip
    of = samples({**gathered(varied), "unread": kinds})
    rows = [each for each in of.all if each.name == "syncd_unread_rows"]
    assert len(rows) == MOST_KINDS + 1
    assert of("syncd_unread_rows") == 400
    assert of("syncd_unread_rows", kind="Task Type=0", looks_like="call") == 2
    assert of("syncd_unread_rows", kind="other") == 2 * (200 - MOST_KINDS)
    assert of("syncd_unread_kinds") == 3


def test_a_ledger_without_a_pass_has_metrics(tmp_path: Path, world: World) -> None:
    with LedgerHandle(tmp_path / "new.db").open() as ledger:
        document = gather(reports(ledger), world.config(), world.now())
    of = samples(document)
    assert of("syncd_passes_total") == of("syncd_source_stale_after_timestamp_seconds") == 0
    assert not of.has("syncd_last_pass_exit_code")


def test_every_family_has_a_text_a_prefix_and_a_fitting_name(varied: World) -> None:
    for family in families(gathered(varied)):
        assert family.name.startswith("syncd_")
        assert family.documentation.endswith(".")
        assert not family.name.endswith("_total")
        assert family.unit == "" or family.name.endswith(f"_{family.unit}")


# -- the daemon's page --------------------------------------------------------------------


@pytest.mark.parametrize("openmetrics", [False, True])
def test_the_page_serves_the_format_that_the_request_accepts(varied: World, openmetrics: bool) -> None:
    with served(varied) as (_, client):
        got = client("/metrics", Accept="application/openmetrics-text;version=1.0.0" if openmetrics else "*/*")
    assert (got.status, got.headers["content-type"]) == (200, OPENMETRICS_TYPE if openmetrics else TEXT_TYPE)
    found = Samples([each for family in PARSERS[openmetrics](got.text) for each in family.samples])
    assert found("syncd_activities", state="delivered") == 5


# -- the command --------------------------------------------------------------------------


def test_the_command_prints_the_textfile_even_if_the_books_do_not_balance(live: World, command: Command) -> None:
    live.call()
    live.sync()
    live.sql("DELETE FROM activities")
    ran = command("status", "--prometheus", "-c", live.config_file)
    assert (ran.code, ran.err) == (0, "")
    of = Samples([each for family in parse_text(ran.out) for each in family.samples])
    assert of("syncd_ledger_balanced") == 0
    assert ran.out.endswith("\n")
    assert command("status", "-c", live.config_file).code == 4


def test_the_command_prints_one_form(live: World, command: Command) -> None:
    live.sync()
    ran = command("status", "--prometheus", "--json", "-c", live.config_file)
    assert (ran.code, ran.out) == (2, "")


def test_without_a_ledger_it_prints_nothing(live: World, command: Command) -> None:
    ran = command("status", "--prometheus", "-c", live.config_file)
    assert (ran.code, ran.out) == (74, "")


def loaded(code: str, *line: str) -> tuple[str, set[str]]:
    """Run a command line in a new process. Return its exit code and the top modules that it loaded."""
    program = f"""if True:
        import sys
        {code}
        from syncd.cli import main as cli
        code = 0
        try:
            cli.main()
        except SystemExit as left:
            code = left.code or 0
        print("\\n", code, *{{name.partition(".")[0] for name in sys.modules}})
    """
    done = subprocess.run([sys.executable, "-c", program, *line], capture_output=True, text=True, check=True, cwd=ROOT)
    exit_code, *modules = done.stdout.splitlines()[-1].split()
    return exit_code + done.stderr, set(modules)


@pytest.mark.parametrize("line", ["--version", "sync", "status"])
def test_nothing_optional_is_loaded_unless_it_is_configured(live: World, line: str) -> None:
    if line == "status":
        live.sync()
    said, modules = loaded("", line, *(() if line == "--version" else ("-c", str(live.config_file))))
    assert said.startswith("0")
    assert "syncd" in modules
    assert not modules & OPTIONAL


def test_without_the_extra_it_says_how_to_install_it(live: World) -> None:
    live.sync()
    said, _ = loaded('sys.modules["prometheus_client"] = None', "status", "--prometheus", "-c", str(live.config_file))
    assert said.startswith("78")
    assert "`web.listen` and `syncd status --prometheus` need it: pip install 'syncd[web]'" in said
