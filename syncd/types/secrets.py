"""Parse and read references to secrets: env:NAME, file:PATH, credential:NAME. A literal is refused."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from syncd import files
from syncd.privacy.redaction import register_secret
from syncd.types import urls

SCHEMES = ("env", "file", "credential")
MOST = 64 * 1024  # bytes of a key; a private key has 2 KiB
HIDDEN = "(hidden)"
EXPECTED = "expected env:NAME, file:PATH or credential:NAME (systemd), never the secret itself"


@dataclass(frozen=True, slots=True)
class Secret:
    """A reference to a secret. `read` returns the secret itself, which repr and str never show."""

    scheme: str
    name: str

    @classmethod
    def parse(cls, text: Any) -> "Secret":
        """Return the reference that `text` holds. ValueError for anything else; it does not repeat `text`."""
        if isinstance(text, Secret):
            return text
        scheme, colon, name = text.partition(":") if isinstance(text, str) else ("", "", "")
        if not colon or scheme not in SCHEMES or not name.strip() or "\0" in name:
            raise ValueError(EXPECTED)
        return cls(scheme, name.strip())

    def read(self) -> str:
        """Return the secret without surrounding white space. ValueError says what is missing, and where.

        From then on no log line can show the secret.
        """
        if self.scheme == "env":
            value, where = os.environ.get(self.name, ""), f"the environment variable {self.name}"
        else:
            path = self.path()
            assert path is not None
            where = f"the file {path}"
            if self.scheme == "credential":
                where = f"the credential {self.name} ({path}, copied by systemd from LoadCredential={self.name}:)"
            value = _content(path, where)
        value = value.strip()
        if not value:
            raise ValueError(f"{where} is not set or empty")
        if not (value.isascii() and value.isprintable()) and "\n" not in value:
            raise ValueError(f"{where} holds characters that are invalid in a key")
        register_secret(value)
        return value

    def read_line(self) -> str:
        """Return a secret for a header. ValueError also if it has several lines."""
        value = self.read()
        if "\n" in value:
            raise ValueError(f"{self} holds several lines: copy the key alone, in one line")
        return value

    def path(self) -> Path | None:
        """Return the file that holds the secret, or None for a variable. ValueError without systemd's credentials."""
        if self.scheme == "env":
            return None
        if self.scheme == "file":
            return Path(self.name)
        directory = os.environ.get("CREDENTIALS_DIRECTORY")
        if not directory:
            raise ValueError(
                f"credential:{self.name} needs systemd's LoadCredential (CREDENTIALS_DIRECTORY is not set)"
            )
        return Path(directory) / self.name

    def __str__(self) -> str:
        return f"{self.scheme}:{self.name}"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(cls.parse, serialization=core_schema.to_string_ser_schema())

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: Any) -> dict[str, Any]:
        return {"type": "string", "pattern": "^(env|file|credential):.+$", "examples": ["env:RECOTAP_API_KEY"]}


@dataclass(frozen=True, slots=True)
class HiddenUrl:
    """An address that may stand in the file itself, but that nothing shows: whoever knows it may use it."""

    url: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> "HiddenUrl":
        """Return the normalized address. ValueError says what is wrong. From then on no log line can show it."""
        url = urls.checked(text)
        register_secret(url)
        return cls(url)

    def read(self) -> str:
        """Return the address."""
        return self.url

    def __str__(self) -> str:
        return HIDDEN


def _content(path: Path, where: str) -> str:
    """Return the text of a key's file. It may be a link, as in Kubernetes, but no FIFO, which would block."""
    try:
        return files.read(path, most=MOST, follow=True, owners=files.trusted()).decode("utf-8-sig")
    except files.Refused as error:
        raise ValueError(f"{where} is not used: it {error.strerror}; {error.remedy}") from None
    except OSError as error:
        raise ValueError(f"{where} cannot be read ({files.why(error)})") from None
    except ValueError:
        raise ValueError(f"{where} cannot be read (not UTF-8 text)") from None
