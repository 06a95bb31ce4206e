-- What the node must not forget. Migrations only add: the previous release must still run on the result.
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;
-- Readers older than this must not open the file.
INSERT INTO meta VALUES ('min_reader', 1);
-- The highest coordinator generation that this node has seen.
INSERT INTO meta VALUES ('generation', 0);

-- Orders, journaled before they act.
CREATE TABLE task (
    number    INTEGER PRIMARY KEY AUTOINCREMENT,
    operation TEXT NOT NULL,
    task      INTEGER NOT NULL,
    attempt   INTEGER NOT NULL,
    body      TEXT NOT NULL,
    -- 'accepted', 'acting' once an effect may have begun, 'ended'.
    stage     TEXT NOT NULL CHECK (stage IN ('accepted', 'acting', 'ended')),
    -- How often a restarted daemon took it up again.
    resumed   INTEGER NOT NULL DEFAULT 0,
    -- How it ended: JSON.
    ending    TEXT,
    UNIQUE (operation, task, attempt)
) STRICT;
CREATE INDEX task_open ON task (number) WHERE stage <> 'ended';

-- Promises between partners: 'given' by this node, 'held' (or asked for) by it.
CREATE TABLE consent (
    side       TEXT NOT NULL CHECK (side IN ('given', 'held')),
    transition TEXT NOT NULL,
    body       TEXT NOT NULL,
    PRIMARY KEY (side, transition)
) STRICT;

-- Disposable copy of the record's events.
CREATE TABLE mirror (
    position INTEGER PRIMARY KEY,
    stream   TEXT NOT NULL,
    seq      INTEGER NOT NULL,
    id       TEXT NOT NULL,
    body     TEXT NOT NULL
) STRICT;

-- Small state of the daemon's parts.
CREATE TABLE small (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;
