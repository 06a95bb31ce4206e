-- ttl_ms: for how long the lease was asked for. It tells how long it may still be trusted where another machine's clock goes on
-- measuring it; 0 is from a release that did not say.
ALTER TABLE lease ADD COLUMN ttl_ms INTEGER NOT NULL DEFAULT 0;

-- Only on a pair's shared pool: which node opened the file last, in which boot of its machine. One row at most.
-- released: whether it closed the file in good order.
CREATE TABLE holder (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    node     TEXT NOT NULL,
    boot_id  TEXT NOT NULL,
    released INTEGER NOT NULL
) STRICT;

-- record_id: tells this record, and every copy of it, from any other one.
INSERT INTO meta (key, value) VALUES ('record_id', abs(random() / 2));
