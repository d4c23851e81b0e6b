"""Keep what a ledger in PostgreSQL does with its lanes and POSTs, and judge it afterwards.

Triggers of the campaign's own write it into tables of its own, by the database's clock, which is this machine's. So
nothing is missed between two looks. The ledger itself keeps neither.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

TTL_S = 10.0  # of a lease
TABLES = (
    """
    CREATE TABLE campaign_takes (
        source text, old_token text, old_until timestamptz, token text, holder text, epoch bigint, at timestamptz)
    """,
    """
    CREATE TABLE campaign_posts (
        id bigint, token text, members text, booked_at timestamptz, settled_at timestamptz, settled_by text)
    """,
    "CREATE INDEX ON campaign_posts (id)",
    """
    CREATE FUNCTION campaign_took() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO campaign_takes VALUES
            (NEW.source, OLD.token, OLD.until, NEW.token, NEW.holder, NEW.epoch, clock_timestamp());
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER campaign_took AFTER UPDATE ON lanes FOR EACH ROW
        WHEN (OLD.token IS DISTINCT FROM NEW.token) EXECUTE FUNCTION campaign_took()
    """,
    """
    CREATE FUNCTION campaign_posted() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'INSERT' THEN
            INSERT INTO campaign_posts VALUES (NEW.id, NEW.token, NEW.members, clock_timestamp());
        ELSIF OLD.finished_at IS NULL AND NEW.finished_at IS NOT NULL THEN
            UPDATE campaign_posts SET settled_at = clock_timestamp(), settled_by = current_setting('syncd.token', true)
            WHERE id = NEW.id;
        END IF;
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER campaign_posted AFTER INSERT OR UPDATE ON posts FOR EACH ROW EXECUTE FUNCTION campaign_posted()
    """,
)
TAKES = """
    SELECT source, old_token, extract(epoch FROM old_until)::float, token, holder, epoch, extract(epoch FROM at)::float
    FROM campaign_takes ORDER BY at
"""
POSTS = """
    SELECT id, token, members, extract(epoch FROM booked_at)::float, extract(epoch FROM settled_at)::float, settled_by
    FROM campaign_posts ORDER BY booked_at
"""
NAMES = "SELECT id, external_activity_id FROM activities"


class Take(NamedTuple):
    """One change of a lane's token. Times are epoch seconds."""

    source: str
    old_token: str | None
    old_until: float | None
    token: str | None  # None: it was released
    holder: str | None
    epoch: int
    at: float


class Post(NamedTuple):
    """One intent."""

    id: int
    token: str | None
    names: frozenset[str]  # externalActivityIds
    booked_at: float
    settled_at: float | None
    settled_by: str | None


class Arrival(NamedTuple):
    """One POST at Recotap."""

    at: float
    pid: int  # of its sender
    in_flight: int
    names: frozenset[str]


class Span(NamedTuple):
    """A time in which something was so."""

    since: float
    until: float

    def covers(self, since: float, until: float) -> bool:
        """Tell whether it lasted from `since` to `until`."""
        return self.since <= since and until <= self.until


def lost_at(takes: Iterable[Take]) -> dict[str, float]:
    """Return when each token was replaced by another one, before it was released."""
    return {take.old_token: take.at for take in takes if take.old_token and take.token}


def senders_of(takes: Iterable[Take]) -> dict[str, int]:
    """Return the process that each token belongs to. A holder is named "`syncd run`, process 17 on here"."""
    return {take.token: int(take.holder.partition(" process ")[2].split()[0])
            for take in takes if take.token and take.holder and " process " in take.holder}  # fmt: skip


def late(arrivals: Iterable[Arrival], posts: Iterable[Post], takes: Sequence[Take]) -> tuple[list[Arrival], int]:
    """Return the POSTs that arrived after another process had taken their lane, and the number of unknown intents.

    The intent of an arrival is the last one of its sender with the same activities. An intent is unknown if a failover
    has lost it. A POST that was refused before its activities were read has none.
    """
    lost, senders = lost_at(takes), senders_of(takes)
    booked: defaultdict[tuple[int, frozenset[str]], list[Post]] = defaultdict(list)
    for post in posts:
        booked[senders.get(post.token or "", 0), post.names].append(post)
    found, unknown = [], 0
    for arrival in arrivals:
        mine = [post for post in booked.get((arrival.pid, arrival.names), ()) if post.booked_at <= arrival.at]
        if not mine:
            unknown += bool(arrival.names)
        elif arrival.at > lost.get(mine[-1].token or "", float("inf")):
            found.append(arrival)
    return found, unknown


def booked_by_lost(posts: Iterable[Post], takes: Sequence[Take]) -> list[Post]:
    """Return the POSTs whose verdicts were booked with a token after another one had taken its lane. None may be."""
    lost = lost_at(takes)
    return [
        post for post in posts
        if post.settled_at is not None and post.settled_at > lost.get(post.settled_by or "", float("inf"))
    ]  # fmt: skip


def two_at_once(takes: Sequence[Take]) -> list[Take]:
    """Return the takes of a lane whose lease had not ended and was not released. There may be none."""
    return [take for take in takes if take.token and take.old_token and take.at < (take.old_until or 0.0)]


def most_in_flight(arrivals: Sequence[Arrival], late_ones: Collection[Arrival], *, for_s: float) -> int:
    """Return the most POSTs in flight at once, except within `for_s` of a late POST, which no one can stop."""
    times = sorted(each.at for each in late_ones)

    def is_apart(at: float) -> bool:
        return bisect_right(times, at + for_s) == bisect_right(times, at - for_s)

    return max((each.in_flight for each in arrivals if is_apart(each.at)), default=0)


class Takeover(NamedTuple):
    """A lane that came from a holder who had died, frozen, or been cut off."""

    source: str
    after_end_s: float  # since the lease ended
    after_fault_s: float | None  # since the holder's process died or froze. None: it did neither
    had_free_slot: bool  # a replica with a free slot, a way to the database, and time to look, all the while


def takeovers(takes: Sequence[Take], faults: Mapping[int, Sequence[float]], ready: Sequence[Span]) -> list[Takeover]:
    """Return the takeovers. `faults`: when each process died or froze. `ready`: when a replica could take a lane."""
    senders, found = senders_of(takes), []
    for take in takes:
        if not (take.token and take.old_token and take.old_until):
            continue
        renewed_at = take.old_until - TTL_S  # an earlier fault was over by then. A later one may follow the first
        mine = [at for at in faults.get(senders.get(take.old_token, 0), ()) if renewed_at <= at < take.at]
        had = any(span.covers(min(take.old_until, take.at), take.at) for span in ready)
        after_fault_s = take.at - min(mine) if mine else None
        found.append(Takeover(take.source, take.at - take.old_until, after_fault_s, had))
    return found


def within(spans: Iterable[Span], holes: Iterable[Span], *, settle_s: float = 0.0) -> list[Span]:
    """Return the parts of `spans` outside all `holes`, each of which lasts for `settle_s` more."""
    left = [*spans]
    for hole in holes:
        end = hole.until + settle_s
        left = [
            part
            for span in left
            for part in (Span(span.since, min(span.until, hole.since)), Span(max(span.since, end), span.until))
            if part.since < part.until
        ]
    return left


def percentile(values: Collection[float], share: float) -> float:
    """Return the value that `share` of `values` do not exceed. 0 without values."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, round(share * (len(ranked) - 1)))] if ranked else 0.0


def read(ask: Any) -> tuple[list[Take], list[Post]]:
    """Read the history. `ask` runs one statement, and returns its rows."""
    names: dict[int, str] = dict(ask(NAMES))
    takes = [Take(*row) for row in ask(TAKES)]
    posts = [
        Post(post_id, token, frozenset(names.get(each, "") for each in _ids(members)), *rest)
        for post_id, token, members, *rest in ask(POSTS)
    ]
    return takes, posts


def _ids(members: str | None) -> list[int]:
    return [int(each) for each in (members or "[]").strip("[]").split(",") if each.strip()]


__all__ = [
    "TABLES", "TTL_S", "Arrival", "Post", "Span", "Take", "Takeover", "booked_by_lost", "late",
    "most_in_flight", "percentile", "read", "takeovers", "two_at_once", "within",
]  # fmt: skip
