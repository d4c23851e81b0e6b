-- A ledger of schema 7, as that version's migrations made it. Never edit it.
BEGIN TRANSACTION;
CREATE TABLE "activities" (
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
        changed_after_delivery INTEGER NOT NULL DEFAULT 0, owner_id TEXT, domain TEXT,
        CHECK (state <> 'delivered'
            OR coalesce(verdict = 'created' OR verdict = 'duplicate' OR verdict = 'foreign_duplicate', 0)),
        UNIQUE (stream_id, crm_id)
    ) STRICT
    ;
INSERT INTO "activities" VALUES(1,1,'1','hubspot-call-1','call','delivered',NULL,'created',NULL,'2026-05-01T10:00:00.000Z','2026-04-30T10:00:00.000Z','2026-05-01T09:59:50.000Z',NULL,NULL,NULL,NULL,NULL,0,0,0,1,0,NULL,NULL);
INSERT INTO "activities" VALUES(2,1,'2','hubspot-call-2','call','delivered',NULL,'duplicate',NULL,'2026-05-01T10:00:00.000Z','2026-05-01T09:30:00.000Z','2026-05-01T09:59:00.000Z',NULL,NULL,NULL,NULL,NULL,0,1,0,2,1,NULL,NULL);
INSERT INTO "activities" VALUES(3,1,'3','hubspot-call-3','call','pending',NULL,'failed','no account','2026-05-01T10:00:00.000Z','2026-05-01T10:00:00.000Z','2026-05-01T10:00:00.000Z',NULL,'2026-05-01T10:00:00.000Z',NULL,NULL,NULL,0,0,0,2,0,NULL,NULL);
INSERT INTO "activities" VALUES(4,1,'4','hubspot-call-4','call','pending',NULL,NULL,NULL,'2026-05-01T10:00:00.000Z','2026-05-01T10:00:00.000Z','2026-05-01T10:00:00.000Z',NULL,'2026-05-01T10:00:00.000Z',NULL,NULL,NULL,0,0,0,-3,0,NULL,NULL);
INSERT INTO "activities" VALUES(5,1,'5','hubspot-call-5','call','pending',NULL,NULL,NULL,'2026-05-01T10:00:00.000Z','2026-05-01T10:00:00.000Z','2026-05-01T10:00:00.000Z',NULL,'2026-05-01T10:00:00.000Z',NULL,NULL,NULL,0,0,0,0,0,NULL,NULL);
INSERT INTO "activities" VALUES(6,1,'6','hubspot-call-6','call','incomplete','no_contact',NULL,NULL,'2026-05-01T10:00:00.000Z','2026-05-01T10:00:00.000Z','2026-05-01T10:00:00.000Z',NULL,'2026-05-01T10:00:00.000Z',NULL,NULL,NULL,0,0,0,0,0,NULL,NULL);
INSERT INTO "activities" VALUES(7,1,'7','hubspot-call-7','call','excluded','internal',NULL,NULL,'2026-05-01T10:00:00.000Z','2026-05-01T10:00:00.000Z','2026-05-01T10:00:00.000Z',NULL,NULL,NULL,NULL,NULL,0,0,0,0,0,NULL,NULL);
INSERT INTO "activities" VALUES(8,1,'8','hubspot-call-8','call','dead','refused','refused','a rule','2026-05-01T10:00:00.000Z','2026-05-01T10:00:00.000Z','2026-05-01T10:00:00.000Z',NULL,NULL,NULL,NULL,NULL,0,0,0,2,0,NULL,NULL);
INSERT INTO "activities" VALUES(9,2,'9','hubspot-email-9','email','delivered',NULL,'foreign_duplicate',NULL,'2026-05-01T10:00:00.000Z','2020-01-01T00:00:00.000Z','2026-05-01T09:00:00.000Z',NULL,NULL,NULL,NULL,NULL,0,0,0,2,0,NULL,NULL);
INSERT INTO "activities" VALUES(10,2,'10','hubspot-email-10','email','skipped',NULL,'skipped','an unknown account','2026-05-01T10:00:00.000Z','2026-05-01T10:00:00.000Z','2026-05-01T10:00:00.000Z',NULL,NULL,NULL,NULL,NULL,0,0,0,1,0,NULL,NULL);
INSERT INTO "activities" VALUES(11,2,'11','hubspot-email-11','email','dead','unreadable',NULL,'no time','2026-05-01T10:00:00.000Z',NULL,'2026-05-01T10:00:00.000Z',NULL,NULL,NULL,NULL,NULL,0,0,0,0,0,NULL,NULL);
CREATE TABLE "counts" (
        stream_id INTEGER NOT NULL REFERENCES streams,
        state     TEXT NOT NULL,
        reason    TEXT NOT NULL,    -- '': none
        verdict   TEXT NOT NULL,    -- '': none
        changed   INTEGER NOT NULL, -- 1: changed after delivery
        part      TEXT NOT NULL DEFAULT '', -- of the reason `filtered`: which entry of `except`; otherwise ''
        n         INTEGER NOT NULL, -- rows
        PRIMARY KEY (stream_id, state, reason, verdict, changed, part)
    ) STRICT, WITHOUT ROWID
    ;
INSERT INTO "counts" VALUES(1,'dead','refused','refused',0,'',1);
INSERT INTO "counts" VALUES(1,'delivered','','created',0,'',1);
INSERT INTO "counts" VALUES(1,'delivered','','duplicate',1,'',1);
INSERT INTO "counts" VALUES(1,'excluded','internal','',0,'',1);
INSERT INTO "counts" VALUES(1,'incomplete','no_contact','',0,'',1);
INSERT INTO "counts" VALUES(1,'pending','','',0,'',2);
INSERT INTO "counts" VALUES(1,'pending','','failed',0,'',1);
INSERT INTO "counts" VALUES(2,'dead','unreadable','',0,'',1);
INSERT INTO "counts" VALUES(2,'delivered','','foreign_duplicate',0,'',1);
INSERT INTO "counts" VALUES(2,'skipped','','skipped',0,'',1);
CREATE TABLE days (             -- deliveries of one day, by how late they were
        day       TEXT NOT NULL,    -- of the delivery, UTC
        stream_id INTEGER NOT NULL REFERENCES streams,
        since     TEXT NOT NULL,    -- lateness counts from here: 'occurred' or 'seen' (first_seen_at)
        within    INTEGER NOT NULL, -- seconds: the smallest of counts.BOUNDS that the lateness does not exceed
        n         INTEGER NOT NULL, -- deliveries
        PRIMARY KEY (day, stream_id, since, within)
    ) STRICT, WITHOUT ROWID
    ;
INSERT INTO "days" VALUES('2026-05-01',1,'occurred',86400,1);
INSERT INTO "days" VALUES('2026-05-01',1,'seen',10,1);
INSERT INTO "days" VALUES('2026-05-03',1,'occurred',604800,1);
INSERT INTO "days" VALUES('2026-05-03',1,'seen',604800,1);
INSERT INTO "days" VALUES('2026-05-03',2,'occurred',9999999999,1);
INSERT INTO "days" VALUES('2026-05-03',2,'seen',604800,1);
CREATE TABLE keys (
        slot        INTEGER NOT NULL, -- the number of a span of time, long or short by the kind of key
        hash        INTEGER NOT NULL, -- 8 bytes of a keyed hash; the secret stands in `store`
        activity_id INTEGER NOT NULL, -- the first one that has it
        has_own_id  INTEGER NOT NULL, -- 1: it has an id of its own too, so another such id makes another activity
        day         INTEGER NOT NULL, -- when it was booked: days since 1970, UTC
        PRIMARY KEY (slot, hash)
    ) STRICT, WITHOUT ROWID
    ;
CREATE TABLE operator (
        id       INTEGER PRIMARY KEY CHECK (id = 1),
        requests INTEGER NOT NULL, -- `retry` and its like, counted
        asked_at TEXT NOT NULL     -- the last one
    ) STRICT
    ;
CREATE TABLE passes (
        id          INTEGER PRIMARY KEY,
        started_at  TEXT NOT NULL,
        finished_at TEXT,
        exit_code   INTEGER
    ) STRICT
    ;
INSERT INTO "passes" VALUES(1,'2026-05-01T10:00:00.000Z','2026-05-03T09:00:00.000Z',0);
CREATE TABLE past_attempts (   -- what came of an attempt, unless the activity's own row says all of it
        activity_id INTEGER NOT NULL REFERENCES "activities" ON DELETE CASCADE,
        post_id     INTEGER NOT NULL REFERENCES posts,
        verdict     TEXT NOT NULL,
        detail      TEXT,
        PRIMARY KEY (activity_id, post_id)
    ) STRICT, WITHOUT ROWID
    ;
INSERT INTO "past_attempts" VALUES(2,1,'unanswered','no word');
INSERT INTO "past_attempts" VALUES(3,2,'failed','no account');
INSERT INTO "past_attempts" VALUES(8,2,'refused','a rule');
INSERT INTO "past_attempts" VALUES(10,1,'skipped','an unknown account');
CREATE TABLE pauses (
        name   TEXT PRIMARY KEY,   -- a source, or '@recotap'
        until  TEXT NOT NULL,
        reason TEXT NOT NULL
    , booked_at TEXT) STRICT
    ;
INSERT INTO "pauses" VALUES('hubspot','2026-05-02T00:00:00.000Z','the day''s quota',NULL);
CREATE TABLE "payloads" (      -- of pending rows alone, and the only data of the other side in this file
        activity_id INTEGER PRIMARY KEY REFERENCES "activities" ON DELETE CASCADE,
        body        TEXT NOT NULL  -- one JSON object of POST /sales-activities
    , read_at INTEGER) STRICT
    ;
INSERT INTO "payloads" VALUES(3,'{"id": 3}',NULL);
INSERT INTO "payloads" VALUES(4,'{"id": 4}',NULL);
INSERT INTO "payloads" VALUES(5,'{"id": 5}',NULL);
CREATE TABLE posts (
        id          INTEGER PRIMARY KEY,
        at          TEXT NOT NULL, -- the intent, committed before the request leaves
        finished_at TEXT           -- NULL: under way, or syncd ended before the verdicts
    , members TEXT) STRICT
    ;
INSERT INTO "posts" VALUES(1,'2026-05-01T10:00:00.000Z','2026-05-01T10:00:00.000Z',NULL);
INSERT INTO "posts" VALUES(2,'2026-05-01T10:00:00.000Z','2026-05-03T09:00:00.000Z',NULL);
INSERT INTO "posts" VALUES(3,'2026-05-01T10:00:00.000Z',NULL,'[4]');
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
    ;
CREATE TABLE recotap (         -- one row
        id           INTEGER PRIMARY KEY CHECK (id = 1),
        silent_since TEXT          -- since when no POST brought a word of it about an item; NULL: the last one did
    ) STRICT
    ;
INSERT INTO "recotap" VALUES(1,NULL);
CREATE TABLE sources (
        source      TEXT PRIMARY KEY,
        identity    TEXT,          -- the CRM's own id of the portal or org; NULL where it would not tell
        external_id TEXT NOT NULL  -- the template of externalActivityId; fixed once a row stands
    ) STRICT
    ;
INSERT INTO "sources" VALUES('hubspot','portal-1','{source}-{kind}-{id}');
CREATE TABLE store (           -- what connectors keep from pass to pass
        source TEXT NOT NULL,
        key    TEXT NOT NULL,
        value  TEXT NOT NULL,      -- JSON
        at     TEXT NOT NULL,
        PRIMARY KEY (source, key)
    ) STRICT, WITHOUT ROWID
    ;
INSERT INTO "store" VALUES('hubspot','owners','{}','2026-05-01T10:00:00.000Z');
CREATE TABLE streams (
        id              INTEGER PRIMARY KEY,
        source          TEXT NOT NULL,
        stream          TEXT NOT NULL,
        seen            INTEGER NOT NULL DEFAULT 0, -- activities ever booked, counted apart from the rows
        watermark       TEXT,                       -- greatest modification time booked, the CRM's clock
        swept_at        TEXT,                       -- start of the last finished sweep
        last_success_at TEXT,                       -- when its window was last read to the end
        last_error      TEXT, start TEXT, rule TEXT, twins INTEGER NOT NULL DEFAULT 0,
        UNIQUE (source, stream)
    ) STRICT
    ;
INSERT INTO "streams" VALUES(1,'hubspot','calls',8,'2026-05-01T10:00:00.000Z',NULL,NULL,NULL,NULL,NULL,0);
INSERT INTO "streams" VALUES(2,'hubspot','emails',3,'2026-05-01T10:00:00.000Z',NULL,NULL,NULL,NULL,NULL,0);
CREATE TABLE twins (
        activity_id INTEGER PRIMARY KEY REFERENCES activities ON DELETE CASCADE, -- the later one
        first_id    INTEGER NOT NULL REFERENCES activities ON DELETE CASCADE,    -- the same call or email
        stream_id   INTEGER NOT NULL REFERENCES streams                          -- of the later one
    ) STRICT
    ;
CREATE INDEX open_posts ON posts (id) WHERE members IS NOT NULL;
CREATE INDEX fresh ON activities (occurred_at) WHERE state = 'pending' AND last_post = 0;
CREATE INDEX blameless ON activities (isolated, next_attempt_at)
        WHERE state = 'pending' AND last_post > 0 AND refusals = 0
    ;
CREATE INDEX backed_off ON activities (isolated, next_attempt_at)
        WHERE state = 'pending' AND last_post > 0 AND refusals > 0
    ;
CREATE INDEX withheld ON activities (stream_id, id) WHERE state = 'incomplete' AND reason = 'redacted';
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
    END;
CREATE VIEW attempts AS        -- verdict NULL: under way, or syncd ended before the verdicts
        SELECT activity_id, post_id, verdict, detail FROM past_attempts
        UNION ALL
        SELECT id, last_post, verdict, NULL FROM activities
        WHERE state = 'delivered' AND last_post > 0 AND NOT EXISTS (
            SELECT 1 FROM past_attempts WHERE activity_id = activities.id AND post_id = last_post)
        UNION ALL
        SELECT value, posts.id, NULL, NULL FROM posts, json_each(members) WHERE members IS NOT NULL;
CREATE INDEX ranges_of_stream ON ranges (stream_id);
CREATE INDEX look_ups ON activities (stream_id, next_attempt_at, id)
        WHERE state <> 'pending' AND next_attempt_at IS NOT NULL
    ;
CREATE TRIGGER uncounted AFTER DELETE ON activities
    BEGIN
        INSERT INTO counts (stream_id, state, reason, verdict, changed, part, n)
        VALUES (OLD.stream_id, OLD.state, coalesce(OLD.reason, ''), coalesce(OLD.verdict, ''),
            OLD.changed_after_delivery, iif(OLD.reason = 'filtered', coalesce(OLD.detail, ''), ''), -1)
        ON CONFLICT DO UPDATE SET n = n - 1;
    END;
CREATE INDEX twins_of ON twins (first_id);
CREATE TRIGGER twin_counted AFTER INSERT ON twins
    BEGIN
        UPDATE streams SET twins = twins + 1 WHERE id = NEW.stream_id;
    END;
CREATE TRIGGER twin_uncounted AFTER DELETE ON twins
    BEGIN
        UPDATE streams SET twins = twins - 1 WHERE id = OLD.stream_id;
    END;
COMMIT;
CREATE INDEX ended ON activities (state, reason, domain)
        WHERE state = 'dead' OR state = 'skipped' OR state = 'excluded';
PRAGMA user_version = 7;
