-- For each device the newest step of the work on its firmware, in place of the one before: JSON.
CREATE TABLE device_step (
    device TEXT PRIMARY KEY,
    body   TEXT NOT NULL
) STRICT;
