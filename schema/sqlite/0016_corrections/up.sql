-- Corrections of who had which usage: a customer's prefix was wrong, and the journal was read again by what is right. Usage
-- rows stay as they were metered; a correction has what is to be added to them, and taken off. What counts is usage and its
-- corrections together.
--
-- As with the books, the rows are inserted first, under the number that the correction is going to have; it seals them, and
-- is checked then. What an exporter reported stays: in each bucket and rate, the differences of its rows come to nothing.

CREATE TABLE correction (
    seq INTEGER NOT NULL PRIMARY KEY CHECK (seq >= 1),
    -- What was read again: buckets in [from_bucket, until_bucket).
    from_bucket INTEGER NOT NULL,
    until_bucket INTEGER NOT NULL CHECK (until_bucket > from_bucket),
    -- SHA-256 of the configuration version by which it was.
    config TEXT NOT NULL CHECK (length(config) = 64),
    reason TEXT NOT NULL CHECK (length(reason) > 0),
    at INTEGER NOT NULL,
    made_by TEXT NOT NULL,
    -- Its rows, and SHA-256 over them.
    changes INTEGER NOT NULL CHECK (changes >= 1),
    root TEXT NOT NULL CHECK (length(root) = 64),
    prev TEXT NOT NULL CHECK (length(prev) = 64),
    hash TEXT NOT NULL UNIQUE CHECK (length(hash) = 64)
) STRICT;

CREATE TABLE correction_row (
    bucket INTEGER NOT NULL,
    customer INTEGER NOT NULL,
    -- A number of usage_series.
    series INTEGER NOT NULL,
    -- Where usage that came late is corrected: as in late_usage_row. 0: usage that came in time.
    carried INTEGER NOT NULL,
    correction INTEGER NOT NULL REFERENCES correction (seq) DEFERRABLE INITIALLY DEFERRED,
    -- Differences: less than 0 where something is taken off.
    octets INTEGER NOT NULL,
    packets INTEGER NOT NULL,
    flows INTEGER NOT NULL,
    squares_low INTEGER NOT NULL,
    squares_high INTEGER NOT NULL,
    CHECK (carried = 0 OR bucket < carried),
    PRIMARY KEY (bucket, customer, series, carried, correction)
) STRICT, WITHOUT ROWID;

CREATE INDEX correction_row_by_correction ON correction_row (correction);
CREATE INDEX correction_row_late ON correction_row (carried) WHERE carried <> 0;

CREATE VIEW usage_correction AS
SELECT correction, carried, bucket, customer, link, direction, class, family, exporter, rate_numerator, rate_denominator,
    rate_source, octets, packets, flows, squares_low, squares_high
FROM correction_row LEFT JOIN usage_series ON usage_series.id = correction_row.series;

CREATE TRIGGER correction_insert BEFORE INSERT ON correction
BEGIN
    SELECT RAISE(ABORT, 'corrections are numbered without gaps')
        WHERE NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM correction);
    SELECT RAISE(ABORT, 'a correction goes on from the hash of the one before')
        WHERE NEW.prev IS NOT coalesce((SELECT hash FROM correction WHERE seq = NEW.seq - 1), printf('%064d', 0));
    SELECT RAISE(ABORT, 'a correction is never changed') WHERE EXISTS (SELECT 1 FROM correction WHERE hash = NEW.hash);
    SELECT RAISE(ABORT, 'a correction is made by a configuration version')
        WHERE NOT EXISTS (SELECT 1 FROM config_version WHERE sha256 = NEW.config);
    SELECT RAISE(ABORT, 'a correction has the rows that it says')
        WHERE NEW.changes <> (SELECT count(*) FROM correction_row WHERE correction = NEW.seq);
    SELECT RAISE(ABORT, 'a correction is of the buckets that it says, and of series that there are')
        WHERE EXISTS (
            SELECT 1 FROM correction_row LEFT JOIN usage_series ON usage_series.id = correction_row.series
            WHERE correction = NEW.seq AND (bucket < NEW.from_bucket OR bucket >= NEW.until_bucket OR id IS NULL)
        );
    SELECT RAISE(ABORT, 'what an exporter reported is not corrected')
        WHERE EXISTS (
            SELECT 1 FROM correction_row JOIN usage_series ON usage_series.id = correction_row.series
            WHERE correction = NEW.seq
            GROUP BY bucket, exporter, rate_numerator, rate_denominator, rate_source
            HAVING sum(octets & 4294967295) & 4294967295 <> 0
                OR sum(octets >> 32) + (sum(octets & 4294967295) >> 32) <> 0
                OR sum(packets & 4294967295) & 4294967295 <> 0
                OR sum(packets >> 32) + (sum(packets & 4294967295) >> 32) <> 0
                OR sum(flows & 4294967295) & 4294967295 <> 0
                OR sum(flows >> 32) + (sum(flows & 4294967295) >> 32) <> 0
                OR sum(squares_low & 4294967295) & 4294967295 <> 0
                OR sum(squares_low >> 32) + (sum(squares_low & 4294967295) >> 32) <> 0
                OR sum(squares_high & 4294967295) & 4294967295 <> 0
                OR sum(squares_high >> 32) + (sum(squares_high & 4294967295) >> 32) <> 0
        );
    SELECT RAISE(ABORT, 'a correction takes off no more than there is')
        WHERE EXISTS (
            SELECT 1 FROM correction_row AS own
            WHERE own.correction = NEW.seq AND own.carried = 0
                AND min(own.octets, own.packets, own.flows, own.squares_low, own.squares_high) < 0
                AND (coalesce((SELECT octets FROM usage_row WHERE bucket = own.bucket AND customer = own.customer AND series = own.series), 0)
                        + (SELECT sum(octets) FROM correction_row WHERE bucket = own.bucket AND customer = own.customer AND series = own.series AND carried = own.carried) < 0
                    OR coalesce((SELECT packets FROM usage_row WHERE bucket = own.bucket AND customer = own.customer AND series = own.series), 0)
                        + (SELECT sum(packets) FROM correction_row WHERE bucket = own.bucket AND customer = own.customer AND series = own.series AND carried = own.carried) < 0
                    OR coalesce((SELECT flows FROM usage_row WHERE bucket = own.bucket AND customer = own.customer AND series = own.series), 0)
                        + (SELECT sum(flows) FROM correction_row WHERE bucket = own.bucket AND customer = own.customer AND series = own.series AND carried = own.carried) < 0
                    OR coalesce((SELECT squares_low FROM usage_row WHERE bucket = own.bucket AND customer = own.customer AND series = own.series), 0)
                        + (SELECT sum(squares_low) FROM correction_row WHERE bucket = own.bucket AND customer = own.customer AND series = own.series AND carried = own.carried) < 0
                    OR coalesce((SELECT squares_high FROM usage_row WHERE bucket = own.bucket AND customer = own.customer AND series = own.series), 0)
                        + (SELECT sum(squares_high) FROM correction_row WHERE bucket = own.bucket AND customer = own.customer AND series = own.series AND carried = own.carried) < 0)
        ) OR EXISTS (
            SELECT 1 FROM correction_row AS own
            WHERE own.correction = NEW.seq AND own.carried <> 0
                AND min(own.octets, own.packets, own.flows, own.squares_low, own.squares_high) < 0
                AND (coalesce((SELECT octets FROM late_usage_row WHERE bucket = own.bucket AND customer = own.customer AND series = own.series AND carried = own.carried), 0)
                        + (SELECT sum(octets) FROM correction_row WHERE bucket = own.bucket AND customer = own.customer AND series = own.series AND carried = own.carried) < 0
                    OR coalesce((SELECT packets FROM late_usage_row WHERE bucket = own.bucket AND customer = own.customer AND series = own.series AND carried = own.carried), 0)
                        + (SELECT sum(packets) FROM correction_row WHERE bucket = own.bucket AND customer = own.customer AND series = own.series AND carried = own.carried) < 0
                    OR coalesce((SELECT flows FROM late_usage_row WHERE bucket = own.bucket AND customer = own.customer AND series = own.series AND carried = own.carried), 0)
                        + (SELECT sum(flows) FROM correction_row WHERE bucket = own.bucket AND customer = own.customer AND series = own.series AND carried = own.carried) < 0
                    OR coalesce((SELECT squares_low FROM late_usage_row WHERE bucket = own.bucket AND customer = own.customer AND series = own.series AND carried = own.carried), 0)
                        + (SELECT sum(squares_low) FROM correction_row WHERE bucket = own.bucket AND customer = own.customer AND series = own.series AND carried = own.carried) < 0
                    OR coalesce((SELECT squares_high FROM late_usage_row WHERE bucket = own.bucket AND customer = own.customer AND series = own.series AND carried = own.carried), 0)
                        + (SELECT sum(squares_high) FROM correction_row WHERE bucket = own.bucket AND customer = own.customer AND series = own.series AND carried = own.carried) < 0)
        );
END;
CREATE TRIGGER correction_update BEFORE UPDATE ON correction
BEGIN SELECT RAISE(ABORT, 'a correction is never changed'); END;
CREATE TRIGGER correction_delete BEFORE DELETE ON correction
BEGIN SELECT RAISE(ABORT, 'a correction is never changed'); END;

CREATE TRIGGER correction_row_insert BEFORE INSERT ON correction_row
WHEN EXISTS (SELECT 1 FROM correction WHERE seq >= NEW.correction)
    OR EXISTS (SELECT 1 FROM correction_row WHERE bucket = NEW.bucket AND customer = NEW.customer
        AND series = NEW.series AND carried = NEW.carried AND correction = NEW.correction)
BEGIN SELECT RAISE(ABORT, 'the correction is sealed'); END;
CREATE TRIGGER correction_row_update BEFORE UPDATE ON correction_row
BEGIN SELECT RAISE(ABORT, 'the correction is sealed'); END;
-- One that no correction has sealed is left of a program that did not keep the keys, and may go.
CREATE TRIGGER correction_row_delete BEFORE DELETE ON correction_row
WHEN EXISTS (SELECT 1 FROM correction WHERE seq = OLD.correction)
BEGIN SELECT RAISE(ABORT, 'the correction is sealed'); END;
