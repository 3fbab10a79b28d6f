-- Files that documents are set with (logos, templates), by the hash that the documents name. They are never changed, so
-- that a final invoice can be made again as it was.

CREATE TABLE asset (
    sha256 TEXT COLLATE "C" NOT NULL PRIMARY KEY CHECK (length(sha256) = 64),
    media TEXT COLLATE "C" NOT NULL,
    content BYTEA NOT NULL
);

CREATE TRIGGER asset_update BEFORE UPDATE OR DELETE ON asset
FOR EACH ROW EXECUTE FUNCTION ledger_refuse('a file of documents is never changed');
CREATE TRIGGER asset_truncate BEFORE TRUNCATE ON asset
FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse('a file of documents is never changed');

-- What came of each exporter in a day (days since the epoch, UTC), and what its sequence numbers say is missing: written by
-- the flush that commits it. Invoices print it.

CREATE TABLE exporter_loss (
    exporter TEXT COLLATE "C" NOT NULL,
    day BIGINT NOT NULL,
    records BIGINT NOT NULL CHECK (records >= 0),
    -- May fall: a late datagram takes its loss back.
    lost BIGINT NOT NULL,
    PRIMARY KEY (exporter, day)
);
