"""The ledger's tables, and the migrations of older ledgers."""

from collections.abc import Callable

from sqlite_utils import Database

from syncd.ledger.schema_6 import V6
from syncd.ledger.schema_8 import V8

# The guard on `state` is in SQL too, so an illegal move fails whichever program writes.
# A test holds its pairs equal to states.MOVES.
V1 = (
    """
    CREATE TABLE sources (
        source      TEXT PRIMARY KEY,
        identity    TEXT,          -- the CRM's own id of the portal or org; NULL where it would not tell
        external_id TEXT NOT NULL  -- the template of externalActivityId; fixed once a row stands
    ) STRICT
    """,
    """
    CREATE TABLE streams (
        id              INTEGER PRIMARY KEY,
        source          TEXT NOT NULL,
        stream          TEXT NOT NULL,
        seen            INTEGER NOT NULL DEFAULT 0, -- activities ever booked, counted apart from the rows
        watermark       TEXT,                       -- greatest modification time booked, the CRM's clock
        swept_at        TEXT,                       -- start of the last finished sweep
        last_success_at TEXT,                       -- when its window was last read to the end
        last_error      TEXT,
        UNIQUE (source, stream)
    ) STRICT
    """,
    """
    CREATE TABLE activities (
        id                     INTEGER PRIMARY KEY,
        stream_id              INTEGER NOT NULL REFERENCES streams,
        crm_id                 TEXT NOT NULL,
        external_activity_id   TEXT NOT NULL UNIQUE,
        kind                   TEXT NOT NULL CHECK (kind IN ('call', 'email')),
        state                  TEXT NOT NULL
            CHECK (state IN ('incomplete', 'pending', 'delivered', 'skipped', 'excluded', 'dead')),
        reason                 TEXT,    -- why it is incomplete, excluded or dead
        verdict                TEXT,    -- the last one
        detail                 TEXT,    -- its text, without personal data
        modified_at            TEXT NOT NULL, -- the CRM's clock
        occurred_at            TEXT,    -- NULL: the record could not be read
        first_seen_at          TEXT NOT NULL,
        updated_at             TEXT,    -- NULL: not since first_seen_at; delivered: when its last post finished
        next_attempt_at        TEXT,    -- pending: goes out; any other state: is looked up by id
        waiting_since          TEXT,    -- incomplete: since when
        missing_since          TEXT,    -- the first look-up that did not find it
        refused_since          TEXT,    -- the first verdict about the item itself
        refusals               INTEGER NOT NULL DEFAULT 0,
        unknown                INTEGER NOT NULL DEFAULT 0, -- 1: an earlier attempt may have stored it
        isolated               INTEGER NOT NULL DEFAULT 0, -- 1: travels only with its like
        last_post              INTEGER NOT NULL DEFAULT 0, -- the last POST it was in; 0: none yet
        changed_after_delivery INTEGER NOT NULL DEFAULT 0,
        CHECK (state <> 'delivered' OR coalesce(verdict, '') IN ('created', 'duplicate', 'foreign_duplicate')),
        UNIQUE (stream_id, crm_id)
    ) STRICT
    """,
    "CREATE INDEX fresh ON activities (occurred_at) WHERE state = 'pending' AND last_post = 0",
    """
    CREATE INDEX blameless ON activities (isolated, next_attempt_at)
        WHERE state = 'pending' AND last_post > 0 AND refusals = 0
    """,
    """
    CREATE INDEX backed_off ON activities (isolated, next_attempt_at)
        WHERE state = 'pending' AND last_post > 0 AND refusals > 0
    """,
    """
    CREATE INDEX look_ups ON activities (stream_id, id, next_attempt_at)
        WHERE state <> 'pending' AND next_attempt_at IS NOT NULL
    """,
    """
    CREATE TRIGGER legal_moves BEFORE UPDATE OF state ON activities
        WHEN OLD.state <> NEW.state AND OLD.state || '>' || NEW.state NOT IN (
            'incomplete>pending', 'incomplete>excluded', 'incomplete>dead',
            'pending>delivered', 'pending>skipped', 'pending>dead', 'pending>incomplete', 'pending>excluded',
            'skipped>pending',
            'excluded>pending', 'excluded>incomplete',
            'dead>pending', 'dead>incomplete'
        )
    BEGIN
        SELECT RAISE(ABORT, 'illegal move of an activity');
    END
    """,
    """
    CREATE TABLE payloads (        -- of pending rows alone, and the only data of the other side in this file
        activity_id INTEGER PRIMARY KEY REFERENCES activities ON DELETE CASCADE,
        body        TEXT NOT NULL  -- one JSON object of POST /sales-activities
    ) STRICT
    """,
    """
    CREATE TABLE posts (
        id          INTEGER PRIMARY KEY,
        at          TEXT NOT NULL, -- the intent, committed before the request leaves
        finished_at TEXT           -- NULL: under way, or syncd ended before the verdicts
    ) STRICT
    """,
    """
    CREATE TABLE attempts (
        activity_id INTEGER NOT NULL REFERENCES activities ON DELETE CASCADE,
        post_id     INTEGER NOT NULL REFERENCES posts,
        verdict     TEXT,          -- NULL: as posts.finished_at
        detail      TEXT,
        PRIMARY KEY (activity_id, post_id)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX open_attempts ON attempts (post_id) WHERE verdict IS NULL",
    """
    CREATE TABLE pauses (
        name   TEXT PRIMARY KEY,   -- a source, or '@recotap'
        until  TEXT NOT NULL,
        reason TEXT NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE store (           -- what connectors keep from pass to pass
        source TEXT NOT NULL,
        key    TEXT NOT NULL,
        value  TEXT NOT NULL,      -- JSON
        at     TEXT NOT NULL,
        PRIMARY KEY (source, key)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE passes (
        id          INTEGER PRIMARY KEY,
        started_at  TEXT NOT NULL,
        finished_at TEXT,
        exit_code   INTEGER
    ) STRICT
    """,
)


V2 = (
    # Requests of operators beside a running syncd: one row, whose number tells the daemon of a new one.
    """
    CREATE TABLE operator (
        id       INTEGER PRIMARY KEY CHECK (id = 1),
        requests INTEGER NOT NULL, -- `retry` and its like, counted
        asked_at TEXT NOT NULL     -- the last one
    ) STRICT
    """,
    # If a pause was booked later than now, a wrong clock booked it, and it does not count.
    "ALTER TABLE pauses ADD COLUMN booked_at TEXT",
    """
    CREATE TABLE recotap (         -- one row
        id           INTEGER PRIMARY KEY CHECK (id = 1),
        silent_since TEXT          -- since when no POST brought a word of it about an item; NULL: the last one did
    ) STRICT
    """,
    "INSERT INTO recotap (id) VALUES (1)",
)

V3 = (
    # Activities that wait for a scope, not for a time. They are found once it is granted, and cost nothing before.
    """
    CREATE INDEX withheld ON activities (stream_id, id) WHERE state = 'incomplete' AND reason = 'redacted'
    """,
)

# Deliveries and attempts under way take no row of their own, so `attempts` is a view. `activities` is rebuilt with
# checks that compare, because `IN (...)` fills a table of the allowed values for each row that SQLite writes. Tables
# that refer to it are rebuilt too, because a transaction cannot switch foreign keys off.
V4 = (
    """
    CREATE TABLE activities_4 (
        id                     INTEGER PRIMARY KEY,
        stream_id              INTEGER NOT NULL REFERENCES streams,
        crm_id                 TEXT NOT NULL,
        external_activity_id   TEXT NOT NULL UNIQUE,
        kind                   TEXT NOT NULL CHECK (kind = 'call' OR kind = 'email'),
        state                  TEXT NOT NULL
            CHECK (state = 'pending' OR state = 'delivered' OR state = 'incomplete' OR state = 'skipped'
                OR state = 'excluded' OR state = 'dead'),
        reason                 TEXT,    -- why it is incomplete, excluded or dead
        verdict                TEXT,    -- the last one
        detail                 TEXT,    -- its text, without personal data
        modified_at            TEXT NOT NULL, -- the CRM's clock
        occurred_at            TEXT,    -- NULL: the record could not be read
        first_seen_at          TEXT NOT NULL,
        updated_at             TEXT,    -- NULL: not since first_seen_at; delivered: when its last post finished
        next_attempt_at        TEXT,    -- pending: goes out; any other state: is looked up by id
        waiting_since          TEXT,    -- incomplete: since when
        missing_since          TEXT,    -- the first look-up that did not find it
        refused_since          TEXT,    -- the first verdict about the item itself
        refusals               INTEGER NOT NULL DEFAULT 0,
        unknown                INTEGER NOT NULL DEFAULT 0, -- 1: an earlier attempt may have stored it
        isolated               INTEGER NOT NULL DEFAULT 0, -- 1: travels only with its like
        last_post              INTEGER NOT NULL DEFAULT 0, -- the last POST it was in; 0: none yet; < 0: in flight
        changed_after_delivery INTEGER NOT NULL DEFAULT 0,
        CHECK (state <> 'delivered'
            OR coalesce(verdict = 'created' OR verdict = 'duplicate' OR verdict = 'foreign_duplicate', 0)),
        UNIQUE (stream_id, crm_id)
    ) STRICT
    """,
    """
    INSERT INTO activities_4 (id, stream_id, crm_id, external_activity_id, kind, state, reason, verdict, detail,
        modified_at, occurred_at, first_seen_at, updated_at, next_attempt_at, waiting_since, missing_since,
        refused_since, refusals, unknown, isolated, last_post, changed_after_delivery)
    SELECT id, stream_id, crm_id, external_activity_id, kind, state, reason, verdict, detail,
        modified_at, occurred_at, first_seen_at, updated_at, next_attempt_at, waiting_since, missing_since,
        refused_since, refusals, unknown, isolated, last_post, changed_after_delivery
    FROM activities
    """,
    """
    CREATE TABLE payloads_4 (      -- of pending rows alone, and the only data of the other side in this file
        activity_id INTEGER PRIMARY KEY REFERENCES activities_4 ON DELETE CASCADE,
        body        TEXT NOT NULL  -- one JSON object of POST /sales-activities
    ) STRICT
    """,
    "INSERT INTO payloads_4 (activity_id, body) SELECT activity_id, body FROM payloads",
    # JSON: the ids of its activities without a verdict. NULL: each has one.
    "ALTER TABLE posts ADD COLUMN members TEXT",
    """
    UPDATE posts SET members = (SELECT json_group_array(activity_id) FROM attempts WHERE post_id = id
        AND verdict IS NULL)
    WHERE id IN (SELECT post_id FROM attempts WHERE verdict IS NULL)
    """,
    "CREATE INDEX open_posts ON posts (id) WHERE members IS NOT NULL",
    """
    CREATE TABLE past_attempts (   -- what came of an attempt, unless the activity's own row says all of it
        activity_id INTEGER NOT NULL REFERENCES activities_4 ON DELETE CASCADE,
        post_id     INTEGER NOT NULL REFERENCES posts,
        verdict     TEXT NOT NULL,
        detail      TEXT,
        PRIMARY KEY (activity_id, post_id)
    ) STRICT, WITHOUT ROWID
    """,
    """
    INSERT INTO past_attempts (activity_id, post_id, verdict, detail)
    SELECT activity_id, post_id, attempts.verdict, attempts.detail FROM attempts JOIN activities ON id = activity_id
    WHERE attempts.verdict IS NOT NULL AND NOT (
        state = 'delivered' AND post_id = last_post AND attempts.verdict = activities.verdict
        AND attempts.detail IS NULL)
    """,
    "DROP TABLE attempts",
    "DROP TABLE payloads",
    "DROP TABLE activities",
    "ALTER TABLE activities_4 RENAME TO activities",
    "ALTER TABLE payloads_4 RENAME TO payloads",
    "UPDATE activities SET last_post = -last_post WHERE id IN (SELECT value FROM posts, json_each(members))",
    "CREATE INDEX fresh ON activities (occurred_at) WHERE state = 'pending' AND last_post = 0",
    """
    CREATE INDEX blameless ON activities (isolated, next_attempt_at)
        WHERE state = 'pending' AND last_post > 0 AND refusals = 0
    """,
    """
    CREATE INDEX backed_off ON activities (isolated, next_attempt_at)
        WHERE state = 'pending' AND last_post > 0 AND refusals > 0
    """,
    """
    CREATE INDEX look_ups ON activities (stream_id, id, next_attempt_at)
        WHERE state <> 'pending' AND next_attempt_at IS NOT NULL
    """,
    "CREATE INDEX withheld ON activities (stream_id, id) WHERE state = 'incomplete' AND reason = 'redacted'",
    """
    CREATE TRIGGER legal_moves BEFORE UPDATE OF state ON activities
        WHEN OLD.state <> NEW.state AND NOT CASE OLD.state
            WHEN 'pending' THEN NEW.state = 'delivered' OR NEW.state = 'skipped' OR NEW.state = 'dead'
                OR NEW.state = 'incomplete' OR NEW.state = 'excluded'
            WHEN 'incomplete' THEN NEW.state = 'pending' OR NEW.state = 'excluded' OR NEW.state = 'dead'
            WHEN 'skipped' THEN NEW.state = 'pending'
            WHEN 'excluded' THEN NEW.state = 'pending' OR NEW.state = 'incomplete'
            WHEN 'dead' THEN NEW.state = 'pending' OR NEW.state = 'incomplete'
            ELSE 0
        END
    BEGIN
        SELECT RAISE(ABORT, 'illegal move of an activity');
    END
    """,
    """
    CREATE VIEW attempts AS        -- verdict NULL: under way, or syncd ended before the verdicts
        SELECT activity_id, post_id, verdict, detail FROM past_attempts
        UNION ALL
        SELECT id, last_post, verdict, NULL FROM activities
        WHERE state = 'delivered' AND last_post > 0 AND NOT EXISTS (
            SELECT 1 FROM past_attempts WHERE activity_id = activities.id AND post_id = last_post)
        UNION ALL
        SELECT value, posts.id, NULL, NULL FROM posts, json_each(members) WHERE members IS NOT NULL
    """,
)

V5_RANGES = (
    "ALTER TABLE streams ADD COLUMN start TEXT",  # from which it is read; NULL: the next configuration's
    """
    CREATE TABLE ranges (          -- spans of modification time that are still to be read, both ends inclusive
        id              INTEGER PRIMARY KEY,
        stream_id       INTEGER NOT NULL REFERENCES streams,
        since           TEXT NOT NULL, -- the CRM's clock, as until and read_to
        until           TEXT NOT NULL,
        why             TEXT NOT NULL CHECK (why = 'start' OR why = 'gap' OR why = 'backfill'),
        read_to         TEXT,      -- everything up to here is booked; NULL: nothing yet
        last_error      TEXT,
        attempts        INTEGER NOT NULL DEFAULT 0, -- failures in a row
        next_attempt_at TEXT,      -- NULL: at once
        created_at      TEXT NOT NULL
    ) STRICT
    """,
    "CREATE INDEX ranges_of_stream ON ranges (stream_id)",
    # Due look-ups, the oldest first.
    "DROP INDEX look_ups",
    """
    CREATE INDEX look_ups ON activities (stream_id, next_attempt_at, id)
        WHERE state <> 'pending' AND next_attempt_at IS NOT NULL
    """,
)

# Counts of the rows, so that no command and no pass counts them. The transaction that inserts or moves rows adds to
# them (counts.py). A trigger for each inserted or updated row would cost 6 to 7 microseconds, so only DELETE has one.
V5_COUNTS = (
    """
    CREATE TABLE counts (
        stream_id INTEGER NOT NULL REFERENCES streams,
        state     TEXT NOT NULL,
        reason    TEXT NOT NULL,    -- '': none
        verdict   TEXT NOT NULL,    -- '': none
        changed   INTEGER NOT NULL, -- 1: changed after delivery
        n         INTEGER NOT NULL, -- rows
        PRIMARY KEY (stream_id, state, reason, verdict, changed)
    ) STRICT, WITHOUT ROWID
    """,
    """
    INSERT INTO counts (stream_id, state, reason, verdict, changed, n)
    SELECT stream_id, state, coalesce(reason, ''), coalesce(verdict, ''), changed_after_delivery, count(*)
    FROM activities GROUP BY 1, 2, 3, 4, 5
    """,
    """
    CREATE TRIGGER uncounted AFTER DELETE ON activities
    BEGIN
        INSERT INTO counts (stream_id, state, reason, verdict, changed, n)
        VALUES (OLD.stream_id, OLD.state, coalesce(OLD.reason, ''), coalesce(OLD.verdict, ''),
            OLD.changed_after_delivery, -1)
        ON CONFLICT DO UPDATE SET n = n - 1;
    END
    """,
    """
    CREATE TABLE days (             -- deliveries of one day, by how late they were
        day       TEXT NOT NULL,    -- of the delivery, UTC
        stream_id INTEGER NOT NULL REFERENCES streams,
        since     TEXT NOT NULL,    -- lateness counts from here: 'occurred' or 'seen' (first_seen_at)
        within    INTEGER NOT NULL, -- seconds: the smallest of counts.BOUNDS that the lateness does not exceed
        n         INTEGER NOT NULL, -- deliveries
        PRIMARY KEY (day, stream_id, since, within)
    ) STRICT, WITHOUT ROWID
    """,
    """
    INSERT INTO days (day, stream_id, since, within, n)
    SELECT substr(at, 1, 10), stream_id, since,
        CASE WHEN late <= 10 THEN 10 WHEN late <= 30 THEN 30 WHEN late <= 60 THEN 60 WHEN late <= 300 THEN 300
            WHEN late <= 900 THEN 900 WHEN late <= 3600 THEN 3600 WHEN late <= 14400 THEN 14400
            WHEN late <= 86400 THEN 86400 WHEN late <= 604800 THEN 604800 WHEN late <= 2592000 THEN 2592000
            ELSE 9999999999 END,
        count(*)
    FROM (
        SELECT stream_id, since, coalesce(updated_at, finished_at) AS at,
            round((julianday(coalesce(updated_at, finished_at))
                - julianday(iif(since = 'seen', first_seen_at, occurred_at))) * 86400, 3) AS late
        FROM activities LEFT JOIN posts ON posts.id = last_post
            CROSS JOIN (SELECT 'occurred' AS since UNION ALL SELECT 'seen')
        WHERE state = 'delivered')
    WHERE late IS NOT NULL
    GROUP BY 1, 2, 3, 4
    """,
    # The CRM's id of the owner, and the account's domain. NULL on a row until its record is read again.
    "ALTER TABLE activities ADD COLUMN owner_id TEXT",
    "ALTER TABLE activities ADD COLUMN domain TEXT",
)
V5_READS = (
    # When the payload's record was last read: epoch seconds, the local clock. NULL: an older syncd read it.
    "ALTER TABLE payloads ADD COLUMN read_at INTEGER",
)
V5 = V5_RANGES + V5_COUNTS + V5_READS

V7 = (
    # Rows that syncd has given up or leaves out, by cause and account. So `syncd failures` reads no delivered row.
    """
    CREATE INDEX ended ON activities (state, reason, domain)
        WHERE state = 'dead' OR state = 'skipped' OR state = 'excluded'
    """,
)


def _first(db: Database) -> None:
    for statement in V1:
        db.execute(statement)


def _second(db: Database) -> None:
    for statement in V2:
        db.execute(statement)


def _third(db: Database) -> None:
    for statement in V3:
        db.execute(statement)


def _fourth(db: Database) -> None:
    for statement in V4:
        db.execute(statement)


def _fifth(db: Database) -> None:
    for statement in V5:
        db.execute(statement)


def _sixth(db: Database) -> None:
    for statement in V6:
        db.execute(statement)


def _seventh(db: Database) -> None:
    for statement in V7:
        db.execute(statement)


def _eighth(db: Database) -> None:
    for statement in V8:
        db.execute(statement)


# A migration is never edited after its release. The schema version is its place in this list, from 1.
MIGRATIONS: tuple[Callable[[Database], None], ...] = (
    _first, _second, _third, _fourth, _fifth, _sixth, _seventh, _eighth,
)  # fmt: skip
VERSION = len(MIGRATIONS)
