PRAGMA application_id = 0x45564b52;

-- min_reader: the lowest schema number a release must know to read this file.
-- generation: the coordinator's.
CREATE TABLE meta (
    key   TEXT PRIMARY KEY NOT NULL,
    value INTEGER NOT NULL
) STRICT;
INSERT INTO meta (key, value) VALUES ('min_reader', 1), ('generation', 0);

-- AUTOINCREMENT: a position is never given twice, whatever compaction removes later.
CREATE TABLE event (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    stream   TEXT NOT NULL,
    seq      INTEGER NOT NULL,
    id       TEXT NOT NULL UNIQUE,
    body     TEXT NOT NULL,
    UNIQUE (stream, seq)
) STRICT;

-- expires_ms counts from the machine's boot `boot_id`; another boot id means expired.
CREATE TABLE lease (
    name       TEXT PRIMARY KEY NOT NULL,
    holder     TEXT NOT NULL,
    boot_id    TEXT NOT NULL,
    expires_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE blob (
    digest TEXT PRIMARY KEY NOT NULL,
    bytes  BLOB NOT NULL
) STRICT;
