"""Read the files of config/ that come with syncd: the commented example and the JSON Schema."""

from pathlib import Path

EXAMPLE = "syncd.example.toml"
SCHEMA = "syncd.schema.json"


def read(name: str) -> str:
    """Return the text of EXAMPLE or SCHEMA. Both are ASCII, so they can be written to any stream."""
    here = Path(__file__).parent
    installed = here / name  # where the wheel puts both; a clone has only config/
    return (installed if installed.exists() else here.parents[1] / "config" / name).read_text(encoding="ascii")
