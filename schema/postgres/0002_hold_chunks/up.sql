-- Records that wait for their sampling rate belong to the checkpoint of their exporter. They are kept in chunks, so that
-- a flush writes only the chunks that changed. The key is the checkpoint's, and the chunk's number: ascending with age.

CREATE TABLE hold_chunk (
    scope BIGINT NOT NULL,
    exporter TEXT COLLATE "C" NOT NULL,
    number BIGINT NOT NULL CHECK (number >= 0),
    records BYTEA NOT NULL,
    PRIMARY KEY (scope, exporter, number),
    FOREIGN KEY (scope, exporter) REFERENCES checkpoint (scope, exporter) ON DELETE CASCADE
);
