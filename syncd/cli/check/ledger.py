"""Test the ledger's file: its place, schema, integrity, books and disk."""

from collections.abc import Iterator

from syncd.config import Config
from syncd.connector import Finding
from syncd.errors import Exit, SyncdError
from syncd.ledger import AnyLedger, chosen
from syncd.lifecycle.remedies import ROWS_GONE

READ_MOST = 2 * 2**30  # bytes of a file whose integrity is tested: 20 s on a disk that reads 100 MB/s
GOES_ON = "let the next passes read them: until then what Recotap already has counts as delivered by this ledger"
DAMAGED = "keep the file, restore a backup, then run `syncd sync`: it reads again all that the backup lacks"


def findings(config: Config) -> Iterator[Finding]:
    """Yield the state of the ledger and of the disk below it. Writes nothing."""
    ledger = chosen(config.ledger)
    try:
        ledger.require_lock()
        if not ledger.exists():
            yield _new(ledger)
        else:
            ledger.require_use()
            yield from _file(ledger)
    except SyncdError as error:
        yield Finding("ledger", False, error.message, error.hint, exit_code=error.exit_code)
    yield from disk(ledger.free_bytes(), str(ledger.folder() or ledger), least=config.alerts.disk_free)


def disk(free: int | None, folder: str, *, least: int) -> Iterator[Finding]:
    """Yield whether the file system of the ledger has room. Pure.

    `free`: its free bytes, None if unknown. `least`: below that many bytes, as alerts do, it warns.
    """
    if free is None:
        return
    hint = "make room, or set [ledger] path to another disk"
    if not free:
        yield Finding("disk", False, f"{folder}: the disk is full", hint, exit_code=Exit.LEDGER)
    elif free < least:
        yield Finding("disk", False, f"{folder}: only {in_words(free)} free", hint, warning=True)
    else:
        yield Finding("disk", True, f"{folder}: {in_words(free)} free")


def in_words(size: int) -> str:
    """Return a number of bytes with three digits, e.g. `1.23 GB`."""
    unit, factor = next((pair for pair in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)) if size >= pair[1]), ("kB", 1e3))
    return f"{float(f'{size / factor:.3g}'):g} {unit}"


def _new(ledger: AnyLedger) -> Finding:
    """Test whether the first pass can create the ledger, without creating it."""
    obstacle = ledger.obstacle()
    if obstacle is None:
        return Finding("ledger", True, f"{ledger}: the first pass makes it")
    why, hint = obstacle
    return Finding("ledger", False, f"{ledger} cannot be made: {why}", hint, exit_code=Exit.LEDGER)


def _file(ledger: AnyLedger) -> Iterator[Finding]:
    with ledger.examine() as file:
        version, newest, size = file.schema(), file.newest, file.size()
        sound, otherwise = file.sound() if size <= READ_MOST else None, file.tested_by
    if sound is False:
        yield Finding("ledger", False, f"{ledger} is damaged", DAMAGED, exit_code=Exit.LEDGER)
        return
    if version < newest:
        yield _older(ledger, version, newest)
    else:
        yield _books(ledger)
        yield from _rewound(ledger)
        yield Finding("ledger schema", True, f"{version}, which this syncd uses")
    yield _integrity(size, is_tested=sound is not None, otherwise=otherwise)


def _older(ledger: AnyLedger, version: int, newest: int) -> Finding:
    if not version:
        return Finding("ledger", True, f"{ledger}: empty, and the first pass sets it up")
    message = f"{ledger} has schema {version}, and this syncd uses {newest}: the next pass migrates it"
    hint = "keep a backup: an older syncd cannot read it afterwards. `status`, `list` and `explain` wait for that pass"
    return Finding("ledger schema", False, message, hint, warning=True)


def _books(ledger: AnyLedger) -> Finding:
    with ledger.reports() as glance:
        balanced, seen = glance.balanced(), sum(glance.counts().values())
    if not balanced:
        message = f"{ledger}: the books do not balance"
        return Finding("ledger", False, message, ROWS_GONE, exit_code=Exit.UNBALANCED)
    return Finding("ledger", True, f"{ledger}: {seen:,} activit{'y' if seen == 1 else 'ies'}, the books balance")


def _rewound(ledger: AnyLedger) -> Iterator[Finding]:
    """Yield a warning while the ledger is older than its deliveries."""
    with ledger.reports() as glance:
        found = glance.rewound()
    if found is not None and not found["ended_at"]:
        message = f"{ledger}: went back to an earlier state, and {', '.join(found['streams'])} are to be read again"
        yield Finding("ledger history", False, message, GOES_ON, warning=True)


def _integrity(size: int, *, is_tested: bool, otherwise: str) -> Finding:
    if is_tested:
        return Finding("ledger integrity", True, f"SQLite finds all {in_words(size)} intact")
    if otherwise:
        return Finding("ledger integrity", True, f"not tested: {otherwise} tests its {in_words(size)}")
    message = f"not tested, because the file has more than {in_words(READ_MOST)}: {in_words(size)}"
    return Finding("ledger integrity", True, f"{message}. Test a copy: sqlite3 copy.db 'PRAGMA quick_check'")


__all__ = ["disk", "findings"]
