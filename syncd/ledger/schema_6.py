"""Bring a ledger to schema 6: what a stream is read by, counts by part, keys of activities, and a stream of its own.

Tasks that are emails were booked in the stream `emails`. They move into `email_tasks`, because an org may have both
tasks and email messages. Only a ledger of Salesforce has such rows: the connector has kept the object of its emails,
or the org's id begins with 00D.
"""

V6_STREAMS = (
    # JSON: the connector's settings that narrow a stream (`match`, `from`), as of the last pass. NULL: unknown.
    "ALTER TABLE streams ADD COLUMN rule TEXT",
    # Activities of the stream that are the same call or email as an earlier one. A trigger keeps it.
    "ALTER TABLE streams ADD COLUMN twins INTEGER NOT NULL DEFAULT 0",
)

V6_COUNTS = (
    "DROP TRIGGER uncounted",
    """
    CREATE TABLE counts_6 (
        stream_id INTEGER NOT NULL REFERENCES streams,
        state     TEXT NOT NULL,
        reason    TEXT NOT NULL,    -- '': none
        verdict   TEXT NOT NULL,    -- '': none
        changed   INTEGER NOT NULL, -- 1: changed after delivery
        part      TEXT NOT NULL DEFAULT '', -- of the reason `filtered`: which entry of `except`; otherwise ''
        n         INTEGER NOT NULL, -- rows
        PRIMARY KEY (stream_id, state, reason, verdict, changed, part)
    ) STRICT, WITHOUT ROWID
    """,
    """
    INSERT INTO counts_6 (stream_id, state, reason, verdict, changed, part, n)
    SELECT stream_id, state, reason, verdict, changed, '', n FROM counts
    """,
    "DROP TABLE counts",
    "ALTER TABLE counts_6 RENAME TO counts",
    """
    CREATE TRIGGER uncounted AFTER DELETE ON activities
    BEGIN
        INSERT INTO counts (stream_id, state, reason, verdict, changed, part, n)
        VALUES (OLD.stream_id, OLD.state, coalesce(OLD.reason, ''), coalesce(OLD.verdict, ''),
            OLD.changed_after_delivery, iif(OLD.reason = 'filtered', coalesce(OLD.detail, ''), ''), -1)
        ON CONFLICT DO UPDATE SET n = n - 1;
    END
    """,
)

V6_SAMENESS = (
    # By what an activity is recognized under another id. The first one that has a key keeps it. The span of time comes
    # first, so that the keys of one page stand together. No reference: the keys of a page are written before its rows.
    """
    CREATE TABLE keys (
        slot        INTEGER NOT NULL, -- the number of a span of time, long or short by the kind of key
        hash        INTEGER NOT NULL, -- 8 bytes of a keyed hash; the secret stands in `store`
        activity_id INTEGER NOT NULL, -- the first one that has it
        has_own_id  INTEGER NOT NULL, -- 1: it has an id of its own too, so another such id makes another activity
        day         INTEGER NOT NULL, -- when it was booked: days since 1970, UTC
        PRIMARY KEY (slot, hash)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE twins (
        activity_id INTEGER PRIMARY KEY REFERENCES activities ON DELETE CASCADE, -- the later one
        first_id    INTEGER NOT NULL REFERENCES activities ON DELETE CASCADE,    -- the same call or email
        stream_id   INTEGER NOT NULL REFERENCES streams                          -- of the later one
    ) STRICT
    """,
    "CREATE INDEX twins_of ON twins (first_id)",
    """
    CREATE TRIGGER twin_counted AFTER INSERT ON twins
    BEGIN
        UPDATE streams SET twins = twins + 1 WHERE id = NEW.stream_id;
    END
    """,
    """
    CREATE TRIGGER twin_uncounted AFTER DELETE ON twins
    BEGIN
        UPDATE streams SET twins = twins - 1 WHERE id = OLD.stream_id;
    END
    """,
)

_FROM_TASKS = """
    EXISTS (SELECT 1 FROM store WHERE store.source = {source} AND key = 'emails_from' AND value = '"Task"')
"""
_OF_SALESFORCE = """
    (EXISTS (SELECT 1 FROM store WHERE store.source = {source} AND key = 'emails_from')
        OR EXISTS (SELECT 1 FROM sources WHERE sources.source = {source} AND identity GLOB '00D*'))
"""
_MOVES = f"""
    (SELECT old.id AS old_id, new.id AS new_id, source FROM streams AS old JOIN streams AS new USING (source)
        WHERE old.stream = 'emails' AND new.stream = 'email_tasks' AND {_OF_SALESFORCE.format(source="source")})
"""  # nosec B608 # our own text
_NEW_ID = f"(SELECT new_id FROM {_MOVES} WHERE old_id = stream_id)"  # nosec B608 # our own text

V6_EMAIL_TASKS = (
    f"""
    INSERT INTO streams (source, stream, watermark, swept_at, last_success_at, last_error, start)
    SELECT source, 'email_tasks', watermark, swept_at, last_success_at, last_error, start FROM streams AS old
    WHERE stream = 'emails' AND {_OF_SALESFORCE.format(source="old.source")}
        AND ({_FROM_TASKS.format(source="old.source")}
            OR EXISTS (SELECT 1 FROM activities WHERE stream_id = old.id AND crm_id GLOB '00T*'))
    """,  # nosec B608 # our own text
    f"""
    INSERT INTO counts (stream_id, state, reason, verdict, changed, part, n)
    SELECT new_id, state, coalesce(reason, ''), coalesce(verdict, ''), changed_after_delivery, '', count(*)
    FROM {_MOVES} JOIN activities ON stream_id = old_id WHERE crm_id GLOB '00T*' GROUP BY 1, 2, 3, 4, 5
    """,  # nosec B608 # our own text
    f"""
    UPDATE counts AS old SET n = old.n - new.n FROM {_MOVES} JOIN counts AS new ON new.stream_id = new_id
    WHERE old.stream_id = old_id AND old.state = new.state AND old.reason = new.reason AND old.verdict = new.verdict
        AND old.changed = new.changed AND old.part = new.part
    """,  # nosec B608 # our own text
    f"""
    UPDATE streams SET seen = (SELECT coalesce(sum(n), 0) FROM counts WHERE stream_id = streams.id)
    WHERE id IN (SELECT new_id FROM {_MOVES})
    """,  # nosec B608 # our own text
    f"""
    UPDATE streams SET seen = seen - (SELECT moved.seen FROM {_MOVES} JOIN streams AS moved ON moved.id = new_id
        WHERE old_id = streams.id)
    WHERE id IN (SELECT old_id FROM {_MOVES})
    """,  # nosec B608 # our own text
    # As schema 5 counted all deliveries, but only within the days that are kept.
    f"""
    INSERT INTO days (day, stream_id, since, within, n)
    SELECT substr(at, 1, 10), new_id, since,
        CASE WHEN late <= 10 THEN 10 WHEN late <= 30 THEN 30 WHEN late <= 60 THEN 60 WHEN late <= 300 THEN 300
            WHEN late <= 900 THEN 900 WHEN late <= 3600 THEN 3600 WHEN late <= 14400 THEN 14400
            WHEN late <= 86400 THEN 86400 WHEN late <= 604800 THEN 604800 WHEN late <= 2592000 THEN 2592000
            ELSE 9999999999 END,
        count(*)
    FROM (
        SELECT new_id, since, coalesce(updated_at, finished_at) AS at,
            round((julianday(coalesce(updated_at, finished_at))
                - julianday(iif(since = 'seen', first_seen_at, occurred_at))) * 86400, 3) AS late
        FROM {_MOVES} JOIN activities ON stream_id = old_id LEFT JOIN posts ON posts.id = last_post
            CROSS JOIN (SELECT 'occurred' AS since UNION ALL SELECT 'seen')
        WHERE crm_id GLOB '00T*' AND state = 'delivered')
    WHERE late IS NOT NULL AND at >= (SELECT min(day) FROM days)
    GROUP BY 1, 2, 3, 4
    """,  # nosec B608 # our own text
    f"""
    UPDATE days AS old SET n = old.n - new.n FROM {_MOVES} JOIN days AS new ON new.stream_id = new_id
    WHERE old.stream_id = old_id AND old.day = new.day AND old.since = new.since AND old.within = new.within
    """,  # nosec B608 # our own text
    "DELETE FROM days WHERE n <= 0",
    f"""
    UPDATE activities SET stream_id = {_NEW_ID}
    WHERE stream_id IN (SELECT old_id FROM {_MOVES}) AND crm_id GLOB '00T*'
    """,  # nosec B608 # our own text
    # What is still to be read of tasks. If some emails came from messages, both streams read it.
    f"""
    INSERT INTO ranges (stream_id, since, until, why, read_to, last_error, attempts, next_attempt_at, created_at)
    SELECT new_id, since, until, why, read_to, last_error, attempts, next_attempt_at, created_at
    FROM {_MOVES} JOIN ranges ON stream_id = old_id ORDER BY id
    """,  # nosec B608 # our own text
    f"""
    DELETE FROM ranges WHERE stream_id IN (SELECT old_id FROM {_MOVES} AS moves
        WHERE {_FROM_TASKS.format(source="moves.source")})
    """,  # nosec B608 # our own text
)

V6 = V6_STREAMS + V6_COUNTS + V6_SAMENESS + V6_EMAIL_TASKS

__all__ = ["V6"]
