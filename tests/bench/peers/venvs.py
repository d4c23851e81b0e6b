"""Keep one virtual environment for each peer, outside the repository."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
READY = "bench-ready"  # the file in a complete environment that names its requirement


def default_folder() -> Path:
    """Return the user's cache folder for the environments."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "syncd-bench"


def build(place: Path, requirement: str) -> None:
    """Make an environment at `place` with pip, and compile it. Raises CalledProcessError."""
    print(f"Creating {place} with {requirement} ...", flush=True)
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    subprocess.run([str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", requirement], check=True)
    compiled(place)


def python_of(requirement: str, folder: Path, build: Callable[[Path, str], None] = build) -> str:
    """Return the Python of an environment that holds `requirement`, e.g. `dlt==1.31.0`.

    Make the environment first if it is missing, incomplete or of another requirement.
    Raises ValueError if `folder` is inside the repository.
    """
    if folder.resolve().is_relative_to(ROOT):
        raise ValueError(f"the environments cannot be in the repository: {folder}")
    place = folder.resolve() / requirement.partition("==")[0]
    if not _is_ready(place, requirement):
        shutil.rmtree(place, ignore_errors=True)
        build(place, requirement)
        (place / READY).write_text(requirement)
    return str(place / "bin" / "python")


def compiled(folder: Path) -> None:
    """Compile every module below `folder`, so that no measured process has to. Skip a module that does not compile."""
    command = [sys.executable, "-m", "compileall", "-q", str(folder)]
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(command, env=environ, stdout=subprocess.DEVNULL, check=False)


def _is_ready(place: Path, requirement: str) -> bool:
    try:
        return (place / READY).read_text() == requirement
    except OSError:
        return False
