"""Write the JSON Schema of the configuration file, for editors: `python -m syncd.config.schema`."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from syncd.config.models import TABLES
from syncd.config.sources import BUILT_IN, SOURCE_NAME, load_connector, plain_streams
from syncd.connector import SourceConfig, StreamConfig

FILE = Path("config/syncd.schema.json")


def schema() -> dict[str, Any]:
    """Return the schema of a file, for the built-in connectors and any others."""
    connectors = {name: load_connector(at) for name, at in BUILT_IN.items()}
    configs: dict[str, type[SourceConfig]] = {name: each.Config for name, each in connectors.items()}
    models: list[type[BaseModel]] = [*TABLES.values(), SourceConfig, StreamConfig, *configs.values()]
    refs, document = models_json_schema([(model, "validation") for model in models])
    # Another connector: the keys of every source, and those that its own model adds.
    document["$defs"]["SourceConfig"]["additionalProperties"] = True
    for each in connectors.values():
        table = document["$defs"][each.Config.__name__]["properties"]
        table.update(dict.fromkeys(sorted(plain_streams(each)), refs[StreamConfig, "validation"]))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The configuration of syncd",
        "type": "object",
        "additionalProperties": False,
        "required": ["recotap", "sources"],
        "properties": {
            **{name: refs[model, "validation"] for name, model in TABLES.items()},
            "sources": {
                "type": "object",
                "minProperties": 1,
                "propertyNames": {"pattern": f"^{SOURCE_NAME.pattern}$"},
                "additionalProperties": _by_connector({n: refs[c, "validation"] for n, c in configs.items()}),
            },
        },
        "$defs": document["$defs"],
    }


def _by_connector(refs: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of one source's table: that of its built-in connector, otherwise SourceConfig."""
    choice: dict[str, Any] = {"$ref": "#/$defs/SourceConfig"}
    for name, ref in refs.items():
        condition = {"properties": {"connector": {"const": name}}, "required": ["connector"]}
        choice = {"if": condition, "then": ref, "else": choice}
    return choice


def text() -> str:
    """Return the content of config/syncd.schema.json."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
