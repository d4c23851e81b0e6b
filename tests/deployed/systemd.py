"""Test the units of deploy/systemd under a real systemd booted for it: `python tests/deployed/systemd.py`.

Installs syncd in a temporary machine (booted.py) as deploy/README.md describes, over stand-ins on loopback, and tests
the units' promises: READY, keys, delivery, reload, stop, kill -9, alerts, a hung pass, timer, journal, hardening.
Prints a line for each check. The exit code is 1 if one fails. Takes about a minute. Needs the standard library, syncd.
If no systemd can be booted, it names the missing parts and exits with 0, or fails with --must.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.deployed.booted import Booted, CannotBoot  # noqa: E402 - found by the line above
from tests.deployed.standins import OWN, Failed, StandIns, stand_ins, wait_for  # noqa: E402
from tests.receivers import receiving  # noqa: E402

UNITS = ("syncd.service", "syncd-sync.service", "syncd-sync.timer")
SERVICES = UNITS[:2]
EXPOSURE = 1.3  # at most, by `systemd-analyze security`; 1.1 is the floor of a networked notify service
LONGEST_S = 400  # a drill that hangs stops then, and cleans up; it takes 80 s alone, 170 s beside the suite
DYNAMIC_USERS = range(61184, 65520)  # systemd.exec(5), DynamicUser=
LEDGER = "/var/lib/syncd/ledger.db"
SECTION = "## As a systemd service"  # of deploy/README.md: its first block of commands installs syncd here
WHAT_IT_MAY_NOT = """
for place in /opt/syncd /etc /usr /var/lib; do touch $place/x; done
for place in /var/lib/syncd /tmp /dev/shm; do cp /bin/true $place/x; $place/x; rm $place/x; done
"""
PIP_NEEDS = ("PIP_", "SSL_", "REQUESTS_", "HTTP_", "HTTPS_", "NO_PROXY", "http_", "https_", "no_proxy")
# For the drill only: short waits, and a record of each end, which systemd forgets after a success.
HOW_IT_ENDED = "[Service]\nExecStopPost=/bin/echo ended: $SERVICE_RESULT $EXIT_CODE $EXIT_STATUS\n"
HASTE = f"{HOW_IT_ENDED}RestartSec=500ms\nWatchdogSec=4s\n"


class Drill:
    """One machine with syncd, and the results of its checks."""

    def __init__(self, machine: Booted, box: StandIns) -> None:
        self.machine, self.box = machine, box
        self.checks = 0
        self.failures: list[str] = []

    # -- tools --------------------------------------------------------------------------

    def check(self, what: str, holds: object, figure: object = "") -> None:
        """Print the result of one check, and record a failed one."""
        self.checks += 1
        if not holds:
            self.failures.append(what)
        print(f"{'ok  ' if holds else 'FAIL'} {what}{f': {figure}' if str(figure) else ''}", flush=True)

    def shell(self, script: str, *, timeout_s: float = 60.0) -> "subprocess.CompletedProcess[str]":
        return self.machine.run("sh", "-c", script, timeout_s=timeout_s)

    def systemctl(self, *command: str) -> "subprocess.CompletedProcess[str]":
        return self.machine.run("systemctl", *command)

    def show(self, unit: str = "syncd.service") -> dict[str, str]:
        """Return systemd's properties of a unit, "" for a missing one."""
        lines = self.systemctl("show", unit).stdout.splitlines()
        return defaultdict(str, {line.partition("=")[0]: line.partition("=")[2] for line in lines})

    def syncd(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of syncd as root, as an operator does."""
        return self.machine.run(
            "/opt/syncd/bin/syncd", *command, "-c", "/etc/syncd/syncd.toml",
            env={"CREDENTIALS_DIRECTORY": "/etc/syncd/keys"},
        )  # fmt: skip

    def status(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.syncd("status", "--json").stdout)
        return document

    def journal(self, unit: str = "syncd.service") -> list[dict[str, Any]]:
        """Return a unit's log lines, the oldest first."""
        lines = self.shell(f"journalctl --sync; journalctl -o json _SYSTEMD_UNIT={unit}").stdout.splitlines()
        return [json.loads(line) for line in lines]

    def events(self, name: str, unit: str = "syncd.service") -> list[dict[str, Any]]:
        """Return the log lines of one event as objects."""
        lines = [entry["MESSAGE"] for entry in self.journal(unit)]
        return [facts for line in lines if line.startswith("{") and (facts := json.loads(line))["event"] == name]

    def how_it_ended(self, unit: str = "syncd.service") -> str:
        """Return result, code and status of a unit's last exit, e.g. "success exited 0"."""
        said = [entry["MESSAGE"] for entry in self.journal(unit) if entry["MESSAGE"].startswith("ended: ")]
        return said[-1].removeprefix("ended: ") if said else "not yet"

    def configure(self, *, salesforce: bool = True, timeout: str = "30s", stuck_after: str = "15m") -> None:
        """Write /etc/syncd/syncd.toml with keys by credential: and the default ledger."""
        at = self.box.at
        source = f'start = 2026-01-01T00:00:00Z\nsettle = {{ call = "0s", email = "0s" }}\ntimeout = "{timeout}"\n'
        text = f"""
            [recotap]
            base_url = "{at["recotap_url"]}"
            api_key = "credential:recotap"
            [schedule]
            every = "2s"
            stuck_after = "{stuck_after}"
            [rules]
            own_domains = ["{OWN}"]
            [sources.hubspot]
            connector = "hubspot"
            base_url = "{at["hubspot_url"]}"
            access_token = "credential:hubspot"
            search_per_second = 0
            {source}
        """
        if salesforce:
            text += f"""
                [sources.salesforce]
                connector = "salesforce"
                login_url = "{at["salesforce_url"]}"
                client_id = "credential:salesforce-id"
                client_secret = "credential:salesforce-secret"
                ca_file = "/etc/syncd/ca.pem"
                {source}
            """
        self.machine.write("/etc/syncd/syncd.toml", text)

    def key(self, name: str, text: str) -> None:
        self.machine.write(f"/etc/syncd/keys/{name}", f"{text}\n", mode=0o600)

    def drop_in(self, unit: str, text: str) -> None:
        """Override a unit as `systemctl edit` does. "" removes the override."""
        self.machine.write(f"/etc/systemd/system/{unit}.d/drill.conf", text)
        self.systemctl("daemon-reload")

    def delivered(self) -> bool:
        """Tell whether Recotap holds all activities."""
        return len(self.box.stored()) == self.box.expected

    def check_nothing_lost(self, what: str) -> None:
        """Check that Recotap and the ledger hold each activity once, and that the books balance."""
        stored = self.box.stored()
        status = wait_for("the books", lambda: _settled(self.status()))
        lost = [name for name in self.box.put if name not in stored]
        doubled = sum(times > 1 for times in stored.values())
        delivered, foreign = status["activities"]["delivered"], status["verdicts"]["foreign_duplicate"]
        self.check(
            what,
            not lost and not doubled and not foreign and status["balanced"]
            and len(stored) == delivered == self.box.expected,
            f"{self.box.expected} put, {len(stored)} at Recotap, {delivered} delivered in the ledger, "
            f"lost {self.box.expected - len(stored)}, doubled {doubled}, "
            f"books {'balance' if status['balanced'] else 'DO NOT BALANCE'}",
        )  # fmt: skip

    # -- the checks, in this order ------------------------------------------------------

    def install(self) -> None:
        environment = {name: value for name, value in os.environ.items() if name.startswith(PIP_NEEDS)}
        began = time.monotonic()
        commands = f"set -e; umask 022; cd /usr/src/syncd\n{documented_installation()}"
        done = self.machine.run("bash", "-c", commands, env=environment, timeout_s=150)
        if done.returncode:
            raise Failed(f"installing: {done.stderr.strip()[-2000:]}")
        version = self.machine.run("/opt/syncd/bin/syncd", "--version").stdout.strip()
        self.check("installed as deploy/README.md says", version, f"{version}, {time.monotonic() - began:.1f} s")
        for name, key in (
            ("recotap", "recotap_key"), ("hubspot", "hubspot_token"), ("salesforce-id", "salesforce_client_id"),
            ("salesforce-secret", "salesforce_client_secret"),
        ):  # fmt: skip
            self.key(name, self.box.at[key])
        self.machine.write("/etc/syncd/ca.pem", Path(self.box.at["salesforce_ca"]).read_text())

    def static(self) -> None:
        """Check the files: no mistakes, hardened, and the same settings for both services."""
        paths = [f"/etc/systemd/system/{unit}" for unit in UNITS]
        verified = self.machine.run("systemd-analyze", "verify", "--recursive-errors=yes", *paths)
        complaints = [line for line in verified.stderr.splitlines() if "syncd" in line]  # not of the machine's units
        self.check("systemd-analyze verify", not complaints, complaints or "nothing to complain of")
        for unit, path in zip(SERVICES, paths[:2], strict=True):
            analyzed = self.machine.run("systemd-analyze", "security", "--offline=true", "--no-pager", path).stdout
            found = re.search(r"Overall exposure level for \S+: ([\d.]+)", analyzed)
            exposure = found.group(1) if found else "not told"
            holds = found and float(exposure) <= EXPOSURE
            self.check(f"hardening of {unit}", holds, f"exposure {exposure}, at most {EXPOSURE}")
        told = [_confinement(ROOT / "deploy/systemd" / unit) for unit in SERVICES]
        differing = sorted({line for line, _ in told[0].items() ^ told[1].items()})
        self.check("both services are confined alike", not differing, differing or f"{len(told[0])} directives")

    def refuse_mistakes(self) -> None:
        """Check that 78 and 77 are not retried, and that a mistake and a missing key are named."""
        self.drop_in("syncd.service", HASTE)
        self.configure()
        self.machine.path("/etc/syncd/keys/hubspot").unlink()
        self._fails_for_good("a key that is not there", 78, said="sources.hubspot.access_token")
        self.key("hubspot", self.box.at["hubspot_token"])
        with self.machine.path("/etc/syncd/syncd.toml").open("a") as file:
            file.write("colour = 1\n")
        self._fails_for_good("a mistake in the configuration", 78, said="colour")
        self.drop_in("syncd.service", f"{HASTE}ExecStart=\nExecStart=/bin/sh -c 'exit 77'\n")
        self._fails_for_good("a program that ends with 77", 77)
        self.drop_in("syncd.service", f"{HASTE}ExecStart=\nExecStart=/bin/sh -c 'exit 74'\n")
        self.systemctl("start", "--no-block", "syncd")
        restarts = wait_for("restarts", lambda: int(self.show()["NRestarts"]) >= 2 and self.show()["NRestarts"])
        self.check("a program that exits with 74 is restarted", restarts, f"{restarts} restarts so far")
        self.systemctl("stop", "syncd")

    def _fails_for_good(self, what: str, code: int, *, said: str = "") -> None:
        self.systemctl("start", "syncd")
        time.sleep(1.2)  # twice the time of a restart
        shown = self.show()
        errors = "\n".join(entry["MESSAGE"] for entry in self.journal() if entry["PRIORITY"] <= "3")
        told = next((line.strip() for line in errors.splitlines() if said and said in line), "")
        ended = shown["ExecMainStatus"] == str(code) and shown["NRestarts"] == "0" and shown["ActiveState"] == "failed"
        figure = f"exit {shown['ExecMainStatus']}, restarts {shown['NRestarts']}{f', said {told!r}' if told else ''}"
        self.check(f"{what}: {code}, for good", ended and bool(told or not said), figure)
        self.systemctl("reset-failed", "syncd")

    def start(self) -> None:
        """Start with HubSpot alone: READY, user, directories, keys, confinement."""
        self.drop_in("syncd.service", HASTE)
        self.configure(salesforce=False)
        checked = self.syncd("check")
        errors = [line for line in checked.stdout.splitlines() if line.startswith("error")]
        self.check(
            "syncd check, as root", checked.returncode == 0, errors or f"{checked.stdout.count('ok   ')} times ok"
        )
        began = time.monotonic()
        started = self.systemctl("start", "syncd")
        took = time.monotonic() - began
        shown = self.show()
        self.check(
            "systemctl start returns with READY", started.returncode == 0 and shown["SubState"] == "running",
            f"{took:.2f} s, {shown['Type']}, {shown['ActiveState']} ({shown['SubState']})",
        )  # fmt: skip
        wait_for("delivery", lambda: len(self.box.stored()) == 50)
        self.check("delivered from HubSpot to Recotap", True, f"50 of 50, {time.monotonic() - began:.1f} s after start")
        status = wait_for("a status line", lambda: _if("next" in (line := self.show()["StatusText"]), line))
        self.check("STATUS is a line to read", status, status)
        self._look_at_the_process(shown["MainPID"])

    def _look_at_the_process(self, pid: str) -> None:
        process = self.machine.path(f"/proc/{pid}")
        facts = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines() if ":\t" in line)
        user = int(facts["Uid"].split()[0])
        self.check("DynamicUser", user in DYNAMIC_USERS, f"user {user}")
        home = self.machine.path("/var/lib/private/syncd")
        modes = {path.name: f"{path.stat().st_mode & 0o777:04o}" for path in (home, home / "ledger.db")}
        owners = {path.stat().st_uid for path in (home, *home.iterdir())}
        link = self.machine.path("/var/lib/syncd").readlink()
        self.check(
            "StateDirectory", modes == {"syncd": "0700", "ledger.db": "0600"} and owners == {user},
            f"/var/lib/syncd -> {link}, {', '.join(f'{name} {mode}' for name, mode in modes.items())}, all of {user}",
        )  # fmt: skip
        keys = [self.box.at[name].encode() for name in ("hubspot_token", "recotap_key")]
        open_to_all = b"".join((process / name).read_bytes() for name in ("environ", "cmdline"))
        credentials = self.shell("stat -c '%n %a %U' /run/credentials/syncd.service/*; ls /etc/syncd/keys").stdout
        held = re.findall(r"/syncd.service/(\S+) (\d+)", credentials)
        self.check(
            "keys by LoadCredential, in no environment and no command line",
            len(held) == 7 and all(mode in ("400", "440") for _, mode in held)
            and not any(key in open_to_all for key in keys),
            ", ".join(f"{name} {mode}" for name, mode in held),
        )  # fmt: skip
        confined = {name: facts[name].strip() for name in ("Seccomp", "NoNewPrivs", "CapEff", "CapBnd")}
        holds = confined == {"Seccomp": "2", "NoNewPrivs": "1", "CapEff": "0" * 16, "CapBnd": "0" * 16}
        self.check("no capability, system calls filtered", holds, ", ".join(f"{n} {v}" for n, v in confined.items()))
        tried = self.machine.run("nsenter", f"--target={pid}", "--mount", "sh", "-c", WHAT_IT_MAY_NOT).stderr
        refused = [tried.count(reason) for reason in ("Read-only file system", "Permission denied")]
        self.check(
            "what it can write it cannot execute, and the other way round",
            refused == [4, 3], f"{refused[0]} of 4 and {refused[1]} of 3 refused",
        )  # fmt: skip

    def journald(self) -> None:
        """Check the log's priorities, and that only the journal adds a time stamp."""
        entries = self.journal()
        facts = [(entry, json.loads(entry["MESSAGE"])) for entry in entries if entry["MESSAGE"].startswith("{")]
        numbers = {"debug": "7", "info": "6", "warning": "4", "error": "3", "critical": "2"}
        wrong = [each["event"] for entry, each in facts if entry["PRIORITY"] != numbers[each["level"]]]
        counts = {level: sum(each["level"] == level for _, each in facts) for level in numbers}
        figure = ", ".join(f"{level} {numbers[level]}: {count}" for level, count in counts.items() if count)
        holds = counts["info"] and counts["error"] and not wrong
        self.check("journald has each line's priority", holds, wrong or figure)
        stamped = [each["event"] for _, each in facts if "timestamp" in each or "time" in each]
        stamped += [
            entry["MESSAGE"] for entry in entries if re.match(r"\W*\d{4}-\d\d-\d\d|\d\d:\d\d", entry["MESSAGE"])
        ]
        self.check("no second time stamp", facts and not stamped, stamped or f"{len(entries)} lines")
        names = {entry["SYSLOG_IDENTIFIER"] for entry in entries if entry["MESSAGE"].startswith("{")}
        self.check("under the name syncd", names == {"syncd"}, ", ".join(sorted(names)))

    def one_ledger(self) -> None:
        """Make a pass by hand beside the daemon: it finds the ledger held, without a failure."""
        self.drop_in("syncd-sync.service", HOW_IT_ENDED)
        started = self.systemctl("start", "syncd-sync")
        ended = self.how_it_ended("syncd-sync.service")
        holds = started.returncode == 0 and ended == "success exited 75" and self.show()["SubState"] == "running"
        self.check("syncd-sync beside the daemon: 75, no failure", holds, ended)

    def reload(self) -> None:
        """Add a source by SIGHUP, in the same process. An invalid configuration is refused."""
        pid = self.show()["MainPID"]
        self.configure()
        reloaded = self.systemctl("reload", "syncd")
        wait_for("delivery", self.delivered)
        shown = self.show()
        self.check(
            "systemctl reload: a Salesforce more, over TLS, in the same process",
            reloaded.returncode == 0 and shown["MainPID"] == pid and shown["SubState"] == "running",
            f"{len(self.box.stored())} delivered, process {pid}",
        )  # fmt: skip
        right = self.machine.path("/etc/syncd/syncd.toml").read_text()
        self.machine.write("/etc/syncd/syncd.toml", right.replace("every", "evry"))
        self.systemctl("reload", "syncd")
        wait_for("the refusal", lambda: self.events("config.refused"))
        shown = self.show()
        self.check("a wrong one is refused, and it goes on", shown["SubState"] == "running", shown["StatusText"])
        self.machine.write("/etc/syncd/syncd.toml", right)
        self.systemctl("reload", "syncd")

    def kill(self) -> None:
        """Kill it with a POST under way: Recotap has stored it, and syncd does not know."""
        before = len(self.box.stored())
        self._during_a_post(150)
        self.systemctl("kill", "--signal=KILL", "syncd")
        began = time.monotonic()
        under_way = len(self.box.stored()) - before
        wait_for("a restart", lambda: self.show()["NRestarts"] == "1" and self.show()["SubState"] == "running")
        took = time.monotonic() - began
        self.box.recotap({"do": "latency", "seconds": 0})
        wait_for("delivery", self.delivered)
        self.check("kill -9 in the midst of a POST: restarted", True, f"{took:.1f} s later (RestartSec 0.5 s here)")
        self.check_nothing_lost("kill -9: nothing lost, nothing doubled")
        again = self.status()["verdicts"]["duplicate"]
        self.check("what was under way was sent again, and known", again == under_way, f"{again} of {under_way}")

    def _during_a_post(self, count: int) -> None:
        """Put calls and return while a POST with some of them is in flight."""
        received = self.box.received()
        self.box.recotap({"do": "latency", "seconds": 2})
        self.box.call(count)
        wait_for("a POST", lambda: self.box.received() > received, every_s=0.02)

    def stop(self) -> None:
        """Check that a stop waits for the request under way, and no longer."""
        self._during_a_post(150)
        began = time.monotonic()
        stopped = self.systemctl("stop", "syncd")
        took = time.monotonic() - began
        ended = self.how_it_ended()
        self.check(
            "systemctl stop, in the midst of a POST, is clean",
            stopped.returncode == 0 and ended == "success exited 0" and took < 10,
            f"{ended}, after {took:.1f} s (that POST took 2 s)",
        )  # fmt: skip
        open_attempts = "SELECT count(*) FROM attempts WHERE verdict IS NULL"
        query = f"import sqlite3; print(sqlite3.connect('{LEDGER}').execute('{open_attempts}').fetchone()[0])"
        still_open = self.machine.run("python3", "-c", query).stdout.strip()
        self.check("its answer was booked", still_open == "0", f"{still_open} activities of unknown fate")
        self.box.recotap({"do": "latency", "seconds": 0})
        self.systemctl("start", "syncd")
        wait_for("delivery", self.delivered)
        self.check_nothing_lost("after the next start: nothing lost, nothing doubled")

    def report(self) -> None:
        """Refuse a key, as `rotate` does, with addresses for an alert and a heartbeat, as deploy/README.md says."""
        right = self.machine.path("/etc/syncd/syncd.toml").read_text()
        table = '[alerts]\nurls = ["credential:alerts"]\nheartbeat_url = "credential:heartbeat"\nafter = "0s"\n'
        with receiving() as receiver:
            self.key("alerts", receiver.address)
            self.key("heartbeat", receiver.beat)
            self.machine.write("/etc/syncd/syncd.toml", f"{right}{table}")
            test = "alerts test -c /etc/syncd/syncd.toml"
            tried = self.shell(f"CREDENTIALS_DIRECTORY=/etc/syncd/keys /opt/syncd/bin/syncd {test}")
            self.check("syncd alerts test", tried.returncode == 0 and len(receiver.requests) == 2, tried.stdout.strip())
            self.systemctl("restart", "syncd")
            self.box.hubspot({"do": "set", "tokens": {}})
            begun = "syncd: hubspot refuses the key"
            wait_for("the alert", lambda: begun in receiver.alerts and "/77" in receiver.beats)
            self.rotate()
            over = "syncd: over: hubspot refuses the key"
            wait_for("the end of the alert", lambda: over in receiver.alerts and receiver.beats[-1] == "")
            said = receiver.alerts[1:], sorted({*receiver.beats})
        self.check(
            "the unit sends an alert when it begins, its end after a restart, and heartbeats",
            [each for each in said[0] if "hubspot" in each] == [begun, over] and {"/start", "/77", ""} <= {*said[1]},
            f"{', '.join(said[0])}; pings {said[1]}",
        )  # fmt: skip
        self.machine.write("/etc/syncd/syncd.toml", right)
        self.systemctl("restart", "syncd")

    def rotate(self) -> None:
        """Refuse a key: the daemon keeps running, and uses the new key after a restart."""
        pid = self.show()["MainPID"]
        self.box.hubspot({"do": "set", "tokens": {}}, {"do": "token", "token": "another-token"})
        self.box.call(5)
        status = wait_for("the refusal", lambda: _if("FAILED" in (line := self.show()["StatusText"]), line))
        shown = self.show()
        holds = shown["MainPID"] == pid and shown["SubState"] == "running"
        self.check("a key refused while it runs: it says so, and stays", holds, status)
        self.key("hubspot", "another-token")
        self.systemctl("restart", "syncd")
        wait_for("delivery", self.delivered)
        self.check("the new key, after systemctl restart", True, f"{len(self.box.stored())} delivered")

    def hang(self) -> None:
        """Hang a pass: without progress for `stuck_after` the watchdog is not fed, and restarts it.

        Both CRMs hang. If one does, the other one's progress feeds the watchdog, and a source that hangs is abandoned.
        """
        self.configure(timeout="5m", stuck_after="2s")
        self.systemctl("restart", "syncd")
        before = int(self.show()["NRestarts"])
        for crm, path in ((self.box.hubspot, "/search"), (self.box.salesforce, "/query")):
            crm({"do": "fault", "name": "hang", "match": path, "seconds": 120, "count": None})
        self.box.call(20)
        began = time.monotonic()
        try:
            wait_for("the watchdog", lambda: int(self.show()["NRestarts"]) > before)
        finally:
            for crm in (self.box.hubspot, self.box.salesforce):
                crm({"do": "clear_faults"})
        took = time.monotonic() - began
        ended = self.how_it_ended()
        figure = f"{ended}, {took:.1f} s after it began to hang (here 2 s, and 4 s of WatchdogSec)"
        # By SIGABRT, or rarely by SIGSEGV in faulthandler, which reads the stacks of running threads.
        self.check("a hung pass is killed by the watchdog", ended.startswith("watchdog "), figure)
        said = [entry["MESSAGE"].strip() for entry in self.journal() if entry["PRIORITY"] == "3"]
        where = next((line for line in said if line.startswith('File "')), "")
        self.check("and tells where it hung, as an error", "Fatal Python error: Aborted" in said, where)
        wait_for("delivery", self.delivered)
        self.check_nothing_lost("after the hang: nothing lost, nothing doubled")
        self.configure()
        self.systemctl("restart", "syncd")

    def timer(self) -> None:
        """Make passes by the timer instead of the daemon. A missed one is made up."""
        self.systemctl("start", "syncd-sync.timer")
        state = wait_for("the daemon's end", lambda: _if((now := self.show()["ActiveState"]) != "deactivating", now))
        self.check("starting the timer stops the daemon", state == "inactive", state)
        coming = self.show("syncd-sync.timer")["NextElapseUSecRealtime"]
        self.check("the timer has its next pass planned", coming, coming)
        self.systemctl("stop", "syncd-sync.timer")

        # Half an hour away, so that only the missed time makes a pass now.
        minute = (time.gmtime().tm_min + 30) % 60
        self.drop_in("syncd-sync.timer", f"[Timer]\nRandomizedDelaySec=0\nOnCalendar=\nOnCalendar=*:{minute:02}\n")
        passes = self._passes_by_timer()
        self.box.call(10)
        days_ago = "touch -d '3 days ago' /var/lib/systemd/timers/stamp-syncd-sync.timer"
        self.shell(f"{days_ago}; systemctl start syncd-sync.timer")
        wait_for("delivery", self.delivered)
        self._wait_for_the_pass()
        made_up = self._passes_by_timer() - passes
        figure = f"{made_up} pass, {len(self.box.stored())} delivered"
        self.check("what was missed while it was off is made up for", made_up == 1, figure)
        self.systemctl("stop", "syncd-sync.timer")

        often = "OnCalendar=\nOnCalendar=*:*:0/2\nAccuracySec=10ms\n"
        self.drop_in("syncd-sync.timer", f"[Timer]\nRandomizedDelaySec=0\n{often}")
        passes = self._passes_by_timer()
        self.systemctl("start", "syncd-sync.timer")
        self.box.call(10)
        wait_for("a pass", lambda: self._passes_by_timer() > passes)  # each has its time: the suite may run beside it
        wait_for("another pass", lambda: self._passes_by_timer() > passes + 1 and self.delivered())
        self.systemctl("stop", "syncd-sync.timer")
        self._wait_for_the_pass()
        count = self._passes_by_timer() - passes
        ended = self.how_it_ended("syncd-sync.service")
        self.check(
            "the timer fires (every 2 s here)", ended == "success exited 0", f"{count} passes, the last: {ended}"
        )
        self.check_nothing_lost("by the timer, with the daemon's ledger: nothing lost, nothing doubled")
        self.systemctl("start", "syncd")
        shown = self.show()
        self.check("starting the daemon is possible again", shown["SubState"] == "running", shown["ActiveState"])

    def _passes_by_timer(self) -> int:
        return len(self.events("pass.finished", "syncd-sync.service"))

    def _wait_for_the_pass(self) -> None:
        wait_for("the pass", lambda: self.show("syncd-sync.service")["ActiveState"] in ("inactive", "failed"))

    def bounds(self) -> None:
        """Check that its use of memory and tasks is far below the bounds."""
        self.systemctl("start", "syncd")
        wait_for("a pass", lambda: "next" in self.show()["StatusText"])
        pid, shown = self.show()["MainPID"], self.show()
        status = self.machine.path(f"/proc/{pid}/status").read_text()
        peak = int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1024
        most = int(shown["MemoryMax"]) / 1024**2
        self.check("memory and threads within bounds", peak < most / 2, f"peak {peak:.0f} MiB of {most:.0f}, "
                   f"{shown['TasksCurrent']} tasks of {shown['TasksMax']}")  # fmt: skip
        began = time.monotonic()
        self.systemctl("stop", "syncd")
        ended = self.how_it_ended()
        self.check("systemctl stop, idle", ended == "success exited 0", f"{ended}, {time.monotonic() - began:.1f} s")

    def run(self) -> None:
        """Run the checks in turn. A failed one is reported, and the next one still runs."""
        steps: tuple[Callable[[], None], ...] = (
            self.static, self.refuse_mistakes, self.start, self.one_ledger, self.reload, self.kill, self.stop,
            self.report, self.journald, self.hang, self.timer, self.bounds,
        )  # fmt: skip
        self.install()
        for step in steps:
            failed = len(self.failures)
            try:
                step()
            except (Failed, subprocess.TimeoutExpired, OSError, ValueError, LookupError) as error:
                self.check(step.__name__, False, f"{type(error).__name__}: {error}")
            if len(self.failures) > failed:
                print(_indented(self.machine.run("journalctl", "-b", "-n", "25", "-o", "short-monotonic").stdout))


def documented_installation() -> str:
    """Return the commands of deploy/README.md without Debian's packages."""
    section = (ROOT / "deploy/README.md").read_text().partition(f"\n{SECTION}\n")[2]
    block = section.partition("```sh\n")[2].partition("```")[0]
    if not block:
        raise SystemExit(f"FAIL deploy/README.md has no section {SECTION!r} with a block of commands")
    return "\n".join(line for line in block.splitlines() if not line.startswith("apt-get "))


def can_install() -> bool:
    """Tell whether the system's Python can make a venv. One in a home is hidden from the services."""
    asked = "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))"
    python = ["/usr/bin/python3", "-c", asked]
    return Path(python[0]).exists() and not subprocess.run(python, capture_output=True, check=False).returncode


def _if(holds: bool, value: Any) -> Any:
    return value if holds else None


def _settled(status: dict[str, Any]) -> dict[str, Any] | None:
    """Return the books once nothing is pending."""
    return None if status["activities"]["pending"] else status


def _confinement(unit: Path) -> dict[str, str]:
    """Return the directives of [Service] about the rights of the process, not about its start and stop."""
    service = unit.read_text().partition("[Service]")[2].partition("\n[")[0]
    lines = [line for line in service.splitlines() if line and not line.startswith("#")]
    rest = ("Type", "Exec", "Notify", "Restart", "Timeout", "Watchdog", "SuccessExit")
    return {line: "" for line in lines if not line.startswith(rest) or line.startswith("ExecPaths")}


def _indented(text: str) -> str:
    return "\n".join(f"       {line[:300]}" for line in text.splitlines())


def _out_of_time(number: int, frame: object) -> None:
    raise SystemExit(f"FAIL the drill took longer than {LONGEST_S} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--must", action="store_true", help="fail where no systemd can be booted")
    chosen = parser.parse_args()
    signal.signal(signal.SIGALRM, _out_of_time)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the clean-up runs
    signal.alarm(LONGEST_S)
    began = time.monotonic()
    try:
        if not can_install():
            raise CannotBoot("a /usr/bin/python3 of 3.11 or newer with venv (Debian: python3-venv)")
        with Booted(ROOT) as machine, stand_ins() as box:
            drill = Drill(machine, box)
            version = machine.run("systemctl", "--version").stdout.splitlines()[0]
            state = machine.run("systemctl", "is-system-running").stdout.strip()
            drill.check("booted", True, f"{version}, {state} after {machine.boot_s:.1f} s")
            drill.run()
    except CannotBoot as error:
        print(f"{'FAIL cannot run here' if chosen.must else 'skipped: this machine lacks'}: {error}")
        raise SystemExit(int(chosen.must)) from None
    what = f"{len(drill.failures)} of {drill.checks} checks failed" if drill.failures else f"{drill.checks} checks hold"
    print(f"{what}, {time.monotonic() - began:.0f} s")
    raise SystemExit(bool(drill.failures))


if __name__ == "__main__":
    main()
