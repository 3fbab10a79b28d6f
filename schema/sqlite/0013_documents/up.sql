-- Files that documents are set with (logos, templates), by the hash that the documents name. They are never changed, so
-- that a final invoice can be made again as it was.

CREATE TABLE asset (
    sha256 TEXT NOT NULL PRIMARY KEY CHECK (length(sha256) = 64),
    media TEXT NOT NULL,
    content BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER asset_insert BEFORE INSERT ON asset
WHEN EXISTS (SELECT 1 FROM asset WHERE sha256 = NEW.sha256)
BEGIN SELECT RAISE(ABORT, 'a file of documents is never changed'); END;
CREATE TRIGGER asset_update BEFORE UPDATE ON asset
BEGIN SELECT RAISE(ABORT, 'a file of documents is never changed'); END;
CREATE TRIGGER asset_delete BEFORE DELETE ON asset
BEGIN SELECT RAISE(ABORT, 'a file of documents is never changed'); END;

-- What came of each exporter in a day (days since the epoch, UTC), and what its sequence numbers say is missing: written by
-- the flush that commits it. Invoices print it.

CREATE TABLE exporter_loss (
    exporter TEXT NOT NULL,
    day INTEGER NOT NULL,
    records INTEGER NOT NULL CHECK (records >= 0),
    -- May fall: a late datagram takes its loss back.
    lost INTEGER NOT NULL,
    PRIMARY KEY (exporter, day)
) STRICT, WITHOUT ROWID;
