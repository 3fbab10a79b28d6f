-- What of a source is no record of its own in source_total, which has as many columns as a table may have here (see 0001):
-- data sets that waited in vain for their template, and their octets (nobody knows how many records they were); and flows
-- that records brought besides their first one, as those of two directions do.
ALTER TABLE source ADD COLUMN expired_sets INTEGER NOT NULL DEFAULT 0 CHECK (expired_sets >= 0);
ALTER TABLE source ADD COLUMN expired_set_octets INTEGER NOT NULL DEFAULT 0 CHECK (expired_set_octets >= 0);
ALTER TABLE source ADD COLUMN second_flows INTEGER NOT NULL DEFAULT 0 CHECK (second_flows >= 0);

-- Sums grow; what they are of stays. Only a statement that names one of these columns fires the trigger, which a flush
-- does not.
CREATE TRIGGER usage_row_update BEFORE UPDATE OF bucket, customer, series ON usage_row
BEGIN SELECT RAISE(ABORT, 'what usage is of is never changed'); END;
CREATE TRIGGER source_total_update BEFORE UPDATE OF source ON source_total
BEGIN SELECT RAISE(ABORT, 'a source is never forgotten'); END;
CREATE TRIGGER source_total_delete BEFORE DELETE ON source_total
BEGIN SELECT RAISE(ABORT, 'a source is never forgotten'); END;
CREATE TRIGGER source_seal_update BEFORE UPDATE OF source ON source_seal
BEGIN SELECT RAISE(ABORT, 'a source is never forgotten'); END;
CREATE TRIGGER exporter_loss_update BEFORE UPDATE OF exporter, day ON exporter_loss
BEGIN SELECT RAISE(ABORT, 'loss is never forgotten'); END;
CREATE TRIGGER exporter_loss_delete BEFORE DELETE ON exporter_loss
BEGIN SELECT RAISE(ABORT, 'loss is never forgotten'); END;

-- What was counted of an exporter's interfaces in a bucket: SHA-256 over its rows, renewed by whoever adds to them. Rows that
-- were there before are sealed when this schema is made.
CREATE TABLE interface_octets_seal (
    bucket INTEGER NOT NULL,
    exporter INTEGER NOT NULL,
    hash TEXT NOT NULL CHECK (length(hash) = 64),
    PRIMARY KEY (bucket, exporter)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER interface_octets_seal_update BEFORE UPDATE OF bucket, exporter ON interface_octets_seal
BEGIN SELECT RAISE(ABORT, 'what crossed an interface is never changed'); END;
CREATE TRIGGER interface_octets_seal_delete BEFORE DELETE ON interface_octets_seal
BEGIN SELECT RAISE(ABORT, 'what crossed an interface is never changed'); END;
