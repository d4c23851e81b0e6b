"""Keep one virtual environment for each peer, outside the repository."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
LOCKS = Path(__file__).parent / "locks"
READY = "bench-ready"  # a copy of the lock file in each complete environment


def default_folder() -> Path:
    """Return the user's cache folder for the environments."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "syncd-bench"


def lock_of(peer: str) -> Path:
    """Return the file that pins a peer's distribution and its dependencies by hash, e.g. of `dlt`."""
    return LOCKS / f"{peer}.txt"


def build(place: Path, peer: str) -> None:
    """Make a peer's environment at `place` with pip, and compile it. Raises CalledProcessError."""
    print(f"Creating {place} ...", flush=True)
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    install = f"-m pip install --quiet --require-hashes -r tests/bench/peers/locks/{peer}.txt"
    subprocess.run([str(place / "bin" / "python"), *install.split()], cwd=ROOT, check=True)
    compiled(place)


def python_of(peer: str, folder: Path, build: Callable[[Path, str], None] = build) -> str:
    """Return the Python of the environment in `folder` that holds a peer.

    Make the environment first if it is missing, incomplete or of another lock file.
    Raises ValueError if `folder` is inside the repository.
    """
    if folder.resolve().is_relative_to(ROOT):
        raise ValueError(f"the environments cannot be in the repository: {folder}")
    place, lock = folder.resolve() / peer, lock_of(peer).read_text(encoding="utf-8")
    if not _is_ready(place, lock):
        shutil.rmtree(place, ignore_errors=True)
        build(place, peer)
        (place / READY).write_text(lock, encoding="utf-8")
    return str(place / "bin" / "python")


def compiled(folder: Path) -> None:
    """Compile every module below `folder`, so that no measured process has to. Skip a module that does not compile."""
    command = [sys.executable, "-m", "compileall", "-q", str(folder)]
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(command, env=environ, stdout=subprocess.DEVNULL, check=False)


def _is_ready(place: Path, lock: str) -> bool:
    try:
        return (place / READY).read_text(encoding="utf-8") == lock
    except OSError:
        return False
