-- What was decided about periods, chained by hashes as the entries of the books are: bounds up to which usage is closed, and
-- seams between periods that somebody accepted. Without it nobody could tell whether a bound was moved by a closing.

CREATE TABLE decision (
    seq BIGINT NOT NULL PRIMARY KEY CHECK (seq >= 1),
    kind TEXT COLLATE "C" NOT NULL CHECK (kind IN ('close', 'seam')),
    -- A customer; 0 stands for all that have no bound of their own.
    customer BIGINT NOT NULL CHECK (customer >= 0),
    -- The first bucket that still takes usage; of a seam the first one after it.
    bucket BIGINT NOT NULL,
    -- Of a seam the bucket at which the period before ended; else that of the bound.
    earlier BIGINT NOT NULL,
    reason TEXT NOT NULL,
    at BIGINT NOT NULL,
    made_by TEXT NOT NULL,
    prev TEXT NOT NULL CHECK (length(prev) = 64),
    hash TEXT COLLATE "C" NOT NULL UNIQUE CHECK (length(hash) = 64)
);

CREATE FUNCTION decision_checked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.seq IS DISTINCT FROM (SELECT coalesce(max(seq), 0) + 1 FROM decision) THEN
        PERFORM ledger_refusal('decisions are numbered without gaps');
    END IF;
    IF NEW.prev IS DISTINCT FROM coalesce((SELECT hash FROM decision WHERE seq = NEW.seq - 1), repeat('0', 64)) THEN
        PERFORM ledger_refusal('a decision goes on from the hash of the one before');
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER decision_insert BEFORE INSERT ON decision FOR EACH ROW EXECUTE FUNCTION decision_checked();
CREATE TRIGGER decision_change BEFORE UPDATE OR DELETE ON decision
FOR EACH ROW EXECUTE FUNCTION ledger_refuse('a decision is never changed');
CREATE TRIGGER decision_truncate BEFORE TRUNCATE ON decision
FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse('a decision is never changed');
