"""Examples at the end of a command's help."""

EXAMPLES = {
    "init": (
        ("syncd init --crm hubspot --crm salesforce", "ask for the rest"),
        ("syncd init --sandbox", "for the running `syncd sandbox`"),
    ),
    "preview": (
        ("syncd preview --limit 20", "the first 20 of the next pass"),
        ("syncd preview 4711 hubspot-call-4712", "these activities, by either id"),
    ),
    "sync": (
        ("syncd sync --dry-run", "list the activities, send nothing"),
        ("syncd sync --only 4711 4712", "these records alone, by the CRM's ids"),
        ("syncd sync --limit 5", "send five activities, to see them arrive"),
        ("syncd sync --source hubspot", "one source of several"),
    ),
    "check": (
        ("syncd check --offline", "without the network"),
        ("syncd check --json", "for a program: a list of findings"),
    ),
    "scope": (
        ("syncd scope --days 90", "the rows of the last 90 days"),
        ("syncd scope --source hubspot --json", "one source, for a program"),
    ),
    "sandbox": (
        ("syncd sandbox", "serve until Ctrl-C"),
        ("syncd sandbox --write-config box.toml", "and begin: syncd -c box.toml check"),
    ),
    "run": (("syncd run --log-format text", "for a log that people read"),),
    "status": (
        ("syncd status --json", "for a program"),
        ("syncd status --prometheus", "metrics, for a textfile"),
    ),
    "health": (("syncd health --probe alive", "for a container's health check"),),
    "accounts": (("syncd accounts --json", "for a program"),),
    "resume": (
        ("syncd resume hubspot", "one source"),
        ("syncd resume recotap", "sending, and no source"),
    ),
    "support-bundle": (("syncd support-bundle -o report.zip", "into this file"),),
    "explain": (
        ("syncd explain hubspot-call-4711", "by Recotap's externalActivityId"),
        ("syncd explain 4711 --json", "by the CRM's id, for a program"),
    ),
    "retry": (
        ("syncd retry hubspot-call-4711", "one activity"),
        ("syncd retry --state dead --dry-run", "list those that are given up"),
        ("syncd retry --reason no_domain", "after the CRM was corrected"),
    ),
    "adopt": (
        ("syncd adopt --since 2026-01-01", "the ledger was lost: since its `start`"),
        ("syncd adopt --since 2026-11-27 --yes", "a backup of that day"),
    ),
    "backfill": (
        ("syncd backfill --since 2025-01-01", "all since then"),
        ("syncd backfill --since 2025-01-01 --until 2025-04-01", "one quarter"),
        ("syncd backfill --since 2025-01-01 --newest-first", "latest first"),
    ),
    "verify": (
        ("syncd verify --since 2026-10-01", "all since then"),
        ("syncd verify --source hubspot --json", "one source, for a program"),
        ("syncd verify --repair", "book what is missing"),
    ),
}


def epilog(command: str) -> str | None:
    """Return the examples of a command for the end of its help, or None. `\\b` keeps the lines as they are."""
    if command not in EXAMPLES:
        return None
    width = max(len(line) for line, _ in EXAMPLES[command])
    return "\n".join(("\b", "Examples:", *(f"  {line:<{width}}  {gloss}" for line, gloss in EXAMPLES[command])))
