-- What was decided about periods, chained by hashes as the entries of the books are: bounds up to which usage is closed, and
-- seams between periods that somebody accepted. Without it nobody could tell whether a bound was moved by a closing.

CREATE TABLE decision (
    seq INTEGER NOT NULL PRIMARY KEY CHECK (seq >= 1),
    kind TEXT NOT NULL CHECK (kind IN ('close', 'seam')),
    -- A customer; 0 stands for all that have no bound of their own.
    customer INTEGER NOT NULL CHECK (customer >= 0),
    -- The first bucket that still takes usage; of a seam the first one after it.
    bucket INTEGER NOT NULL,
    -- Of a seam the bucket at which the period before ended; else that of the bound.
    earlier INTEGER NOT NULL,
    reason TEXT NOT NULL,
    at INTEGER NOT NULL,
    made_by TEXT NOT NULL,
    prev TEXT NOT NULL CHECK (length(prev) = 64),
    hash TEXT NOT NULL UNIQUE CHECK (length(hash) = 64)
) STRICT;

CREATE TRIGGER decision_insert BEFORE INSERT ON decision
BEGIN
    SELECT RAISE(ABORT, 'decisions are numbered without gaps')
        WHERE NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM decision);
    SELECT RAISE(ABORT, 'a decision goes on from the hash of the one before')
        WHERE NEW.prev IS NOT coalesce((SELECT hash FROM decision WHERE seq = NEW.seq - 1), printf('%064d', 0));
    SELECT RAISE(ABORT, 'a decision is never changed') WHERE EXISTS (SELECT 1 FROM decision WHERE hash = NEW.hash);
END;
CREATE TRIGGER decision_update BEFORE UPDATE ON decision
BEGIN SELECT RAISE(ABORT, 'a decision is never changed'); END;
CREATE TRIGGER decision_delete BEFORE DELETE ON decision
BEGIN SELECT RAISE(ABORT, 'a decision is never changed'); END;
