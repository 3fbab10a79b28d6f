-- Witnesses: each row of a register (names, sources, configuration and tariff versions, deliveries) is written together with
-- a digest of what it says. Witnesses are chained by hashes, as decisions are, so that a row that was changed or taken away
-- later is noticed. Rows that were there before this schema are witnessed when it is made.

CREATE TABLE witness (
    seq INTEGER NOT NULL PRIMARY KEY CHECK (seq >= 1),
    kind TEXT NOT NULL CHECK (kind IN ('configuration', 'delivery', 'name', 'source', 'tariff')),
    -- Which row of that register.
    subject TEXT NOT NULL,
    -- SHA-256 of what it says.
    digest TEXT NOT NULL CHECK (length(digest) = 64),
    prev TEXT NOT NULL CHECK (length(prev) = 64),
    hash TEXT NOT NULL UNIQUE CHECK (length(hash) = 64),
    UNIQUE (kind, subject)
) STRICT;

CREATE TRIGGER witness_insert BEFORE INSERT ON witness
BEGIN
    SELECT RAISE(ABORT, 'witnesses are numbered without gaps')
        WHERE NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM witness);
    SELECT RAISE(ABORT, 'a witness goes on from the hash of the one before')
        WHERE NEW.prev IS NOT coalesce((SELECT hash FROM witness WHERE seq = NEW.seq - 1), printf('%064d', 0));
    SELECT RAISE(ABORT, 'a witness is never changed')
        WHERE EXISTS (SELECT 1 FROM witness WHERE hash = NEW.hash)
            OR EXISTS (SELECT 1 FROM witness WHERE kind = NEW.kind AND subject = NEW.subject);
END;
CREATE TRIGGER witness_update BEFORE UPDATE ON witness
BEGIN SELECT RAISE(ABORT, 'a witness is never changed'); END;
CREATE TRIGGER witness_delete BEFORE DELETE ON witness
BEGIN SELECT RAISE(ABORT, 'a witness is never changed'); END;

-- What the last flush left of a source: SHA-256 of its position and totals.
CREATE TABLE source_seal (
    source INTEGER NOT NULL PRIMARY KEY REFERENCES source (id),
    hash TEXT NOT NULL CHECK (length(hash) = 64)
) STRICT;

CREATE TRIGGER source_seal_delete BEFORE DELETE ON source_seal
BEGIN SELECT RAISE(ABORT, 'a source is never forgotten'); END;

-- How many witnesses and decisions there were when an entry closed periods. The entry's digest covers their last hashes.
CREATE TABLE anchor (
    entry INTEGER NOT NULL PRIMARY KEY REFERENCES entry (seq),
    witnesses INTEGER NOT NULL CHECK (witnesses >= 0),
    decisions INTEGER NOT NULL CHECK (decisions >= 0)
) STRICT;

CREATE TRIGGER anchor_insert BEFORE INSERT ON anchor
WHEN EXISTS (SELECT 1 FROM anchor WHERE entry = NEW.entry)
BEGIN SELECT RAISE(ABORT, 'what a closing covers is never changed'); END;
CREATE TRIGGER anchor_update BEFORE UPDATE ON anchor
BEGIN SELECT RAISE(ABORT, 'what a closing covers is never changed'); END;
CREATE TRIGGER anchor_delete BEFORE DELETE ON anchor
BEGIN SELECT RAISE(ABORT, 'what a closing covers is never changed'); END;
