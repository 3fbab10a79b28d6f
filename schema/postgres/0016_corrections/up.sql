-- Corrections of who had which usage: a customer's prefix was wrong, and the journal was read again by what is right. Usage
-- rows stay as they were metered; a correction has what is to be added to them, and taken off. What counts is usage and its
-- corrections together.
--
-- As with the books, the rows are inserted first, under the number that the correction is going to have; it seals them, and
-- is checked then. What an exporter reported stays: in each bucket and rate, the differences of its rows come to nothing.

CREATE TABLE correction (
    seq BIGINT NOT NULL PRIMARY KEY CHECK (seq >= 1),
    -- What was read again: buckets in [from_bucket, until_bucket).
    from_bucket BIGINT NOT NULL,
    until_bucket BIGINT NOT NULL CHECK (until_bucket > from_bucket),
    -- SHA-256 of the configuration version by which it was.
    config TEXT COLLATE "C" NOT NULL CHECK (length(config) = 64),
    reason TEXT NOT NULL CHECK (length(reason) > 0),
    at BIGINT NOT NULL,
    made_by TEXT NOT NULL,
    -- Its rows, and SHA-256 over them.
    changes BIGINT NOT NULL CHECK (changes >= 1),
    root TEXT NOT NULL CHECK (length(root) = 64),
    prev TEXT NOT NULL CHECK (length(prev) = 64),
    hash TEXT COLLATE "C" NOT NULL UNIQUE CHECK (length(hash) = 64)
);

CREATE TABLE correction_row (
    bucket BIGINT NOT NULL,
    customer BIGINT NOT NULL,
    -- A number of usage_series.
    series BIGINT NOT NULL,
    -- Where usage that came late is corrected: as in late_usage_row. 0: usage that came in time.
    carried BIGINT NOT NULL,
    correction BIGINT NOT NULL REFERENCES correction (seq) DEFERRABLE INITIALLY DEFERRED,
    -- Differences: less than 0 where something is taken off.
    octets BIGINT NOT NULL,
    packets BIGINT NOT NULL,
    flows BIGINT NOT NULL,
    squares_low BIGINT NOT NULL,
    squares_high BIGINT NOT NULL,
    CHECK (carried = 0 OR bucket < carried),
    PRIMARY KEY (bucket, customer, series, carried, correction)
);

CREATE INDEX correction_row_by_correction ON correction_row (correction);
CREATE INDEX correction_row_late ON correction_row (carried) WHERE carried <> 0;

CREATE VIEW usage_correction AS
SELECT correction, carried, bucket, customer, link, direction, class, family, exporter, rate_numerator, rate_denominator,
    rate_source, octets, packets, flows, squares_low, squares_high
FROM correction_row LEFT JOIN usage_series ON usage_series.id = correction_row.series;

CREATE FUNCTION correction_checked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.seq IS DISTINCT FROM (SELECT coalesce(max(seq), 0) + 1 FROM correction) THEN
        PERFORM ledger_refusal('corrections are numbered without gaps');
    END IF;
    IF NEW.prev IS DISTINCT FROM coalesce((SELECT hash FROM correction WHERE seq = NEW.seq - 1), repeat('0', 64)) THEN
        PERFORM ledger_refusal('a correction goes on from the hash of the one before');
    END IF;
    IF NOT EXISTS (SELECT 1 FROM config_version WHERE sha256 = NEW.config) THEN
        PERFORM ledger_refusal('a correction is made by a configuration version');
    END IF;
    IF NEW.changes <> (SELECT count(*) FROM correction_row WHERE correction = NEW.seq) THEN
        PERFORM ledger_refusal('a correction has the rows that it says');
    END IF;
    IF EXISTS (SELECT 1 FROM correction_row LEFT JOIN usage_series ON usage_series.id = correction_row.series
        WHERE correction = NEW.seq AND (bucket < NEW.from_bucket OR bucket >= NEW.until_bucket OR id IS NULL)) THEN
        PERFORM ledger_refusal('a correction is of the buckets that it says, and of series that there are');
    END IF;
    IF EXISTS (SELECT 1 FROM correction_row JOIN usage_series ON usage_series.id = correction_row.series
        WHERE correction = NEW.seq
        GROUP BY bucket, exporter, rate_numerator, rate_denominator, rate_source
        HAVING sum(octets) <> 0 OR sum(packets) <> 0 OR sum(flows) <> 0 OR sum(squares_low) <> 0 OR sum(squares_high) <> 0) THEN
        PERFORM ledger_refusal('what an exporter reported is not corrected');
    END IF;
    IF EXISTS (SELECT 1 FROM correction_row AS own
        WHERE own.correction = NEW.seq AND own.carried = 0
            AND least(own.octets, own.packets, own.flows, own.squares_low, own.squares_high) < 0
            AND (coalesce((SELECT octets FROM usage_row WHERE bucket = own.bucket AND customer = own.customer AND series = own.series), 0)
                        + (SELECT sum(octets) FROM correction_row WHERE bucket = own.bucket AND customer = own.customer AND series = own.series AND carried = own.carried) < 0
                    OR coalesce((SELECT packets FROM usage_row WHERE bucket = own.bucket AND customer = own.customer AND series = own.series), 0)
                        + (SELECT sum(packets) FROM correction_row WHERE bucket = own.bucket AND customer = own.customer AND series = own.series AND carried = own.carried) < 0
                    OR coalesce((SELECT flows FROM usage_row WHERE bucket = own.bucket AND customer = own.customer AND series = own.series), 0)
                        + (SELECT sum(flows) FROM correction_row WHERE bucket = own.bucket AND customer = own.customer AND series = own.series AND carried = own.carried) < 0
                    OR coalesce((SELECT squares_low FROM usage_row WHERE bucket = own.bucket AND customer = own.customer AND series = own.series), 0)
                        + (SELECT sum(squares_low) FROM correction_row WHERE bucket = own.bucket AND customer = own.customer AND series = own.series AND carried = own.carried) < 0
                    OR coalesce((SELECT squares_high FROM usage_row WHERE bucket = own.bucket AND customer = own.customer AND series = own.series), 0)
                        + (SELECT sum(squares_high) FROM correction_row WHERE bucket = own.bucket AND customer = own.customer AND series = own.series AND carried = own.carried) < 0))
        OR EXISTS (SELECT 1 FROM correction_row AS own
        WHERE own.correction = NEW.seq AND own.carried <> 0
            AND least(own.octets, own.packets, own.flows, own.squares_low, own.squares_high) < 0
            AND (coalesce((SELECT octets FROM late_usage_row WHERE bucket = own.bucket AND customer = own.customer AND series = own.series AND carried = own.carried), 0)
                        + (SELECT sum(octets) FROM correction_row WHERE bucket = own.bucket AND customer = own.customer AND series = own.series AND carried = own.carried) < 0
                    OR coalesce((SELECT packets FROM late_usage_row WHERE bucket = own.bucket AND customer = own.customer AND series = own.series AND carried = own.carried), 0)
                        + (SELECT sum(packets) FROM correction_row WHERE bucket = own.bucket AND customer = own.customer AND series = own.series AND carried = own.carried) < 0
                    OR coalesce((SELECT flows FROM late_usage_row WHERE bucket = own.bucket AND customer = own.customer AND series = own.series AND carried = own.carried), 0)
                        + (SELECT sum(flows) FROM correction_row WHERE bucket = own.bucket AND customer = own.customer AND series = own.series AND carried = own.carried) < 0
                    OR coalesce((SELECT squares_low FROM late_usage_row WHERE bucket = own.bucket AND customer = own.customer AND series = own.series AND carried = own.carried), 0)
                        + (SELECT sum(squares_low) FROM correction_row WHERE bucket = own.bucket AND customer = own.customer AND series = own.series AND carried = own.carried) < 0
                    OR coalesce((SELECT squares_high FROM late_usage_row WHERE bucket = own.bucket AND customer = own.customer AND series = own.series AND carried = own.carried), 0)
                        + (SELECT sum(squares_high) FROM correction_row WHERE bucket = own.bucket AND customer = own.customer AND series = own.series AND carried = own.carried) < 0)) THEN
        PERFORM ledger_refusal('a correction takes off no more than there is');
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER correction_insert BEFORE INSERT ON correction
FOR EACH ROW EXECUTE FUNCTION correction_checked();
CREATE TRIGGER correction_change BEFORE UPDATE OR DELETE ON correction
FOR EACH ROW EXECUTE FUNCTION ledger_refuse('a correction is never changed');
CREATE TRIGGER correction_truncate BEFORE TRUNCATE ON correction
FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse('a correction is never changed');

CREATE FUNCTION correction_row_checked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF EXISTS (SELECT 1 FROM correction WHERE seq >= NEW.correction) THEN
            PERFORM ledger_refusal('the correction is sealed');
        END IF;
        RETURN NEW;
    END IF;
    -- One that no correction has sealed may go.
    IF EXISTS (SELECT 1 FROM correction WHERE seq = OLD.correction) THEN
        PERFORM ledger_refusal('the correction is sealed');
    END IF;
    RETURN OLD;
END $$;

CREATE TRIGGER correction_row_insert BEFORE INSERT OR DELETE ON correction_row
FOR EACH ROW EXECUTE FUNCTION correction_row_checked();
CREATE TRIGGER correction_row_change BEFORE UPDATE ON correction_row
FOR EACH ROW EXECUTE FUNCTION ledger_refuse('the correction is sealed');
CREATE TRIGGER correction_row_truncate BEFORE TRUNCATE ON correction_row
FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse('the correction is sealed');
