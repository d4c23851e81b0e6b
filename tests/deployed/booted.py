"""Boot the machine's own systemd for a test, as PID 1 of new namespaces over a throw-away copy of `/`.

    with Booted(clone) as machine:
        machine.write("/etc/motd", "hello")
        machine.run("systemctl", "is-system-running")

Needs root, systemd, overlayfs and a writable cgroup2, but no image and no package except Debian's systemd. It boots
within a second. It shares the machine's loopback, so that it reaches servers outside. It ends with the process that
started it. After a kill -9 only empty control groups and a directory with a log are left.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

SCRIPT = Path(__file__).with_suffix(".sh")
TOOLS = ("bash", "mount", "nsenter", "pivot_root", "setpriv", "systemctl", "systemd-analyze", "unshare")
NAMESPACES = ("--pid", "--mount", "--uts", "--ipc", "--cgroup")
CONTROLLERS = ("memory", "pids", "cpu")  # for MemoryMax and TasksMax; a unit's other settings need none
BOOT_S = 20.0  # 0.5 on an idle machine
POWER_OFF = signal.SIGRTMIN + 4  # to systemd as PID 1: stop everything, then power off
POWER_OFF_S = 10.0
DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL")


class CannotBoot(Exception):
    """This machine lacks a requirement. The message says which."""


class Booted:
    """The booted machine while the context lasts. CannotBoot on entering if it does not come up."""

    def __init__(self, clone: Path) -> None:
        """Take the directory to mount inside, read-only, as /usr/src/syncd."""
        self.clone = clone
        self.boot_s = 0.0
        self._init = 0  # PID 1, by its number outside
        self._process: subprocess.Popen[bytes] | None = None
        self._groups: list[Path] = []
        self._work = ""

    @property
    def root(self) -> Path:
        """The machine's `/` as a path outside."""
        return Path(f"/proc/{self._init}/root")

    def path(self, inside: str) -> Path:
        return self.root / inside.lstrip("/")

    def write(self, inside: str, text: str, *, mode: int = 0o644) -> None:
        """Write a file as root, with its directories."""
        path = self.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    def run(
        self, *command: str, timeout_s: float = 60.0, env: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command inside, as root, and return its output and exit code."""
        clean = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root", "TERM": "dumb"}
        enter = (*DIES_WITH_US, "nsenter", f"--target={self._init}", *NAMESPACES, "--root", "--wd", "--")
        return subprocess.run(
            [*enter, *command], env={**clean, **(env or {})}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=timeout_s, check=False,
        )  # fmt: skip

    def __enter__(self) -> Self:
        began = time.monotonic()
        if lacking := list(missing()):
            raise CannotBoot("; ".join(lacking))
        try:
            self._boot(began + BOOT_S)
        except BaseException:
            self._end()
            raise
        self.boot_s = time.monotonic() - began
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()

    def _boot(self, deadline: float) -> None:
        self._work = tempfile.mkdtemp(prefix="booted-")
        (Path(self._work) / "root").mkdir()
        controllers = self._make_groups()
        # The shell moves itself, so that its children are in the groups from their start.
        enter = 'for group in $GROUPS_TO_ENTER; do echo $$ > $group/cgroup.procs; done; exec "$@"'
        line = ["bash", "-c", enter, "boot", *DIES_WITH_US, "unshare", "--fork", "--kill-child=KILL", *NAMESPACES]
        line += ["bash", str(SCRIPT), f"{self._work}/root", str(self.clone), *controllers]
        console = Path(self._work, "console")
        with console.open("wb") as said:
            self._process = subprocess.Popen(
                line, env={**os.environ, "GROUPS_TO_ENTER": " ".join(map(str, self._groups))}, stdout=said,
                stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            self._init = self._init or self._find_init()
            if self._init and self._is_up(deadline):
                return
            time.sleep(0.05)
        last = console.read_text(errors="replace").strip().splitlines()[-3:]
        raise CannotBoot(f"systemd did not come up: {' / '.join(last) or f'nothing said in {BOOT_S:.0f} s'}")

    def _find_init(self) -> int:
        """Return the number of the booted PID 1, or 0 while it is not systemd yet."""
        assert self._process is not None
        for child in _children(self._process.pid):
            if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                return child
        return 0

    def _is_up(self, deadline: float) -> bool:
        left = max(0.1, deadline - time.monotonic())
        try:
            state = self.run("systemctl", "is-system-running", "--wait", timeout_s=left).stdout.strip()
        except subprocess.TimeoutExpired:
            return False
        return state in ("running", "degraded")  # degraded: a unit of the machine itself failed

    def _make_groups(self) -> list[str]:
        """Make a control group in each required hierarchy. Return the v1 controllers."""
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
        unified = next(Path(at) for _, at, kind, *_ in mounts if kind == "cgroup2")
        old = [(at, options.split(",")) for _, at, kind, options, *_ in mounts if kind == "cgroup"]
        legacy = {name: Path(at) for at, options in old for name in options}
        controllers = [name for name in CONTROLLERS if name in legacy]
        places = [unified]
        if controllers and "name=systemd" in legacy:
            places += [legacy["name=systemd"], *(legacy[name] for name in controllers)]
        else:
            controllers = []
        for place in places:
            group = place / f"booted-{os.getpid()}"
            group.mkdir()
            self._groups.append(group)
        return controllers

    def _end(self) -> None:
        """Power off, or kill it. Then remove everything that was made outside."""
        if self._process is not None:
            if self._init:
                _signal(self._init, POWER_OFF)
            else:
                self._process.kill()
            try:
                self._process.wait(POWER_OFF_S)
            except subprocess.TimeoutExpired:
                self._process.kill()  # unshare kills PID 1, and the kernel all of its children
                self._process.wait()
        for group in self._groups:
            _remove_group(group)
        if self._work:
            shutil.rmtree(self._work, ignore_errors=True)


def missing() -> Iterator[str]:
    """Raise CannotBoot if this machine lacks a requirement to boot a systemd."""
    if os.geteuid() != 0:
        yield f"root (this is user {os.geteuid()})"
        return
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    if not any(Path(at, "systemd/systemd").exists() for at in ("/usr/lib", "/lib")):
        absent.append("systemd")
    if absent:
        yield f"commands: {', '.join(absent)}"
        return
    mounted = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    unified = [at for at, kind in mounted if kind == "cgroup2"]
    if not unified:
        yield "cgroup2: it is not mounted"
    elif error := _refusal("sh", "-c", f"mkdir {unified[0]}/booted-try && rmdir {unified[0]}/booted-try"):
        yield f"cgroup2 that may be written: {error}"
    try_overlay = (
        "d=$(mktemp -d) && mount -t tmpfs try $d && mkdir $d/u $d/w $d/r && "
        "mount -t overlay -o lowerdir=/,upperdir=$d/u,workdir=$d/w try $d/r; code=$?; umount $d; rmdir $d; exit $code"
    )
    if error := _refusal("unshare", "--fork", *NAMESPACES, "true"):
        yield f"namespaces: {error}"
    elif error := _refusal("unshare", "--fork", *NAMESPACES, "sh", "-c", try_overlay):
        yield f"overlayfs over /: {error}"


def _refusal(*command: str) -> str:
    """Return why a command fails, or ""."""
    tried = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False, stdin=subprocess.DEVNULL)
    return (tried.stderr.strip().splitlines() or [f"exit code {tried.returncode}"])[0] if tried.returncode else ""


def _children(process: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except OSError:
        return []


def _signal(process: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, number)


def _remove_group(group: Path) -> None:
    """Remove a control group and its children. Their last processes may still be exiting."""
    for _ in range(40):
        for inner, _, _ in os.walk(group, topdown=False):
            with suppress(OSError):
                Path(inner).rmdir()
        if not group.exists():
            return
        time.sleep(0.05)


__all__ = ["DIES_WITH_US", "Booted", "CannotBoot", "missing"]
