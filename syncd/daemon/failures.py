"""Remember which sources fail, and with which keys they were refused. Pure."""

from collections.abc import Collection, Mapping

from syncd.errors import Exit, SyncdError


class Failures:
    """The current error of each source that fails, and of RECOTAP if it fails."""

    def __init__(self) -> None:
        self._errors: dict[str, SyncdError] = {}  # in the order of their first failure
        self._refused: dict[str, str] = {}  # name: fingerprint of the keys that were refused

    @property
    def names(self) -> list[str]:
        """All names that fail, the longest failing one first."""
        return [*self._errors]

    @property
    def codes(self) -> list[int]:
        """The exit code of each name that fails."""
        return [int(error.exit_code) for error in self._errors.values()]

    @property
    def errors(self) -> Mapping[str, SyncdError]:
        """The error of each name that fails, the longest failing one first."""
        return self._errors

    @property
    def first(self) -> SyncdError | None:
        """The error of the name that has failed for the longest time."""
        return next(iter(self._errors.values()), None)

    @property
    def has_refused_keys(self) -> bool:
        """Whether a name waits for another key."""
        return bool(self._refused)

    def record(self, names: Collection[str], failed: Mapping[str, SyncdError], *, keys: Mapping[str, str]) -> None:
        """Record the end of `names`. Names outside `failed` have succeeded.

        `keys` has by name a fingerprint of the keys that were used.
        """
        for name in names:
            if name not in failed:
                self._errors.pop(name, None)
                self._refused.pop(name, None)
        for name, error in failed.items():
            error.__traceback__ = error.__context__ = error.__cause__ = None  # they hold the whole pass in memory
            self._errors[name] = error
            if error.exit_code in (Exit.UNAUTHORIZED, Exit.CONFIG):
                self._refused[name] = keys.get(name, "")

    @property
    def refused(self) -> list[str]:
        """All names that wait for another key."""
        return [*self._refused]

    def take_changed(self, keys: str, *, among: Collection[str] | None = None) -> list[str]:
        """Return each name, of all or `among` some, that was refused with keys other than `keys`, once."""
        names = self._refused if among is None else among
        changed = [name for name, refused in self._refused.items() if refused != keys and name in names]
        for name in changed:
            del self._refused[name]
        return changed

    def keep(self, names: Collection[str]) -> None:
        """Forget all names but `names`."""
        self._errors = {name: error for name, error in self._errors.items() if name in names}
        self._refused = {name: refused for name, refused in self._refused.items() if name in names}


__all__ = ["Failures"]
