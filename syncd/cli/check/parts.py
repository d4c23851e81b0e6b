"""Sort the findings of `syncd check` into its three parts, and judge them together. No IO."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from syncd.connector import Finding
from syncd.errors import ConfigError, Exit, worst


class Part(StrEnum):
    """One end of what a pass depends on, in the order of the report."""

    MACHINE = "machine"  # the configuration, files and the ledger
    CRM = "crm"
    RECOTAP = "recotap"

    @property
    def heading(self) -> str:
        """Return the heading of the part. The clocks of all servers end the report."""
        return {"machine": "This machine", "crm": "CRM", "recotap": "Recotap, and all clocks"}[self.value]


@dataclass(frozen=True, slots=True)
class Placed(Finding):
    """A finding, and where it belongs."""

    part: Part = Part.MACHINE
    source: str | None = None  # None: it concerns no source, or all


# By exit code: the cause of a failed check in words, worst first.
CAUSES = {
    Exit.BUG: "syncd or a connector has a bug",
    Exit.CONFIG: "the configuration is wrong",
    Exit.LEDGER: "the ledger cannot be used",
    Exit.UNBALANCED: "the books do not balance",
    Exit.UNAUTHORIZED: "credentials are refused, or a permission is missing",
    Exit.UNAVAILABLE: "a server or a folder cannot be reached",
}
FIRST_STEPS = "`syncd scope` and `syncd preview` show what a pass would read and send"
LATER_STEPS = "`syncd status` shows the books"


def within(part: Part, found: Iterable[Finding], source: str | None = None) -> Iterator[Placed]:
    """Yield each finding as one of a part, and of a source."""
    for each in found:
        yield Placed(each.what, each.ok, each.message, each.hint, each.warning, code(each), part, source)


def code(finding: Finding) -> int:
    """Return the exit code that a finding calls for. A failure without one counts as an outage."""
    if finding.ok or finding.warning:
        return Exit.OK
    return finding.exit_code or Exit.UNAVAILABLE


def mistakes(error: ConfigError) -> list[Placed]:
    """Return a finding for each mistake in a configuration that cannot be loaded."""
    found = [Finding(each.path, False, each.message, each.hint) for each in error.problems]
    whole = [Finding("configuration", False, error.message, error.hint)]
    return [Placed(each.what, False, each.message, each.hint, exit_code=Exit.CONFIG) for each in found or whole]


def document(found: Sequence[Placed]) -> list[dict[str, Any]]:
    """Return the document of `syncd check --json`."""
    keys = ("what", "ok", "warning", "message", "hint", "exit_code", "part", "source")
    return [{key: getattr(each, key) for key in keys} for each in found]


def conclusion(found: Sequence[Placed], *, has_begun: bool, untested: Sequence[str] = ()) -> str:
    """Return the closing line of `syncd check`: a verdict in words by the worst finding, and the next step.

    `has_begun`: the ledger holds activities. `untested`: the servers that --offline left out.
    """
    failed = [each for each in found if code(each)]
    warned = [each for each in found if not each.ok and each.warning]
    if failed:
        return _not_ready(failed, len(warned))
    ready = "This machine is ready" if untested else "Ready"
    if warned:
        ready += f", with {_number(len(warned), 'warning')}: look at `{warned[0].what}` first"
    if untested:
        return f"{ready}. Not tested without the network: {', '.join(untested)}. Next: `syncd check`."
    return f"{ready}. Next: {LATER_STEPS if has_begun else FIRST_STEPS}."


def _not_ready(failed: Sequence[Placed], warnings: int) -> str:
    exit_code = worst(map(code, failed))
    first = next(each for each in failed if worst([code(each)]) == exit_code)
    numbers = _number(len(failed), "error") + (f", {_number(warnings, 'warning')}" if warnings else "")
    cause = CAUSES.get(exit_code, "a test failed")
    return f"Not ready ({numbers}): {cause}. Begin with `{first.what}`, then run `syncd check` again."


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


__all__ = ["Part", "Placed", "code", "conclusion", "document", "mistakes", "within"]
