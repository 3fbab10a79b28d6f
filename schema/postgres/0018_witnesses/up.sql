-- Witnesses: each row of a register (names, sources, configuration and tariff versions, deliveries) is written together with
-- a digest of what it says. Witnesses are chained by hashes, as decisions are, so that a row that was changed or taken away
-- later is noticed. Rows that were there before this schema are witnessed when it is made.

CREATE TABLE witness (
    seq BIGINT NOT NULL PRIMARY KEY CHECK (seq >= 1),
    kind TEXT COLLATE "C" NOT NULL CHECK (kind IN ('configuration', 'delivery', 'name', 'source', 'tariff')),
    -- Which row of that register.
    subject TEXT COLLATE "C" NOT NULL,
    -- SHA-256 of what it says.
    digest TEXT NOT NULL CHECK (length(digest) = 64),
    prev TEXT NOT NULL CHECK (length(prev) = 64),
    hash TEXT COLLATE "C" NOT NULL UNIQUE CHECK (length(hash) = 64),
    UNIQUE (kind, subject)
);

CREATE FUNCTION witness_checked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.seq IS DISTINCT FROM (SELECT coalesce(max(seq), 0) + 1 FROM witness) THEN
        PERFORM ledger_refusal('witnesses are numbered without gaps');
    END IF;
    IF NEW.prev IS DISTINCT FROM coalesce((SELECT hash FROM witness WHERE seq = NEW.seq - 1), repeat('0', 64)) THEN
        PERFORM ledger_refusal('a witness goes on from the hash of the one before');
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER witness_insert BEFORE INSERT ON witness FOR EACH ROW EXECUTE FUNCTION witness_checked();
CREATE TRIGGER witness_change BEFORE UPDATE OR DELETE ON witness
FOR EACH ROW EXECUTE FUNCTION ledger_refuse('a witness is never changed');
CREATE TRIGGER witness_truncate BEFORE TRUNCATE ON witness
FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse('a witness is never changed');

-- What the last flush left of a source: SHA-256 of its position and totals.
CREATE TABLE source_seal (
    source BIGINT NOT NULL PRIMARY KEY REFERENCES source (id),
    hash TEXT NOT NULL CHECK (length(hash) = 64)
);

CREATE TRIGGER source_seal_delete BEFORE DELETE ON source_seal
FOR EACH ROW EXECUTE FUNCTION ledger_refuse('a source is never forgotten');
CREATE TRIGGER source_seal_truncate BEFORE TRUNCATE ON source_seal
FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse('a source is never forgotten');

-- How many witnesses and decisions there were when an entry closed periods. The entry's digest covers their last hashes.
CREATE TABLE anchor (
    entry BIGINT NOT NULL PRIMARY KEY REFERENCES entry (seq),
    witnesses BIGINT NOT NULL CHECK (witnesses >= 0),
    decisions BIGINT NOT NULL CHECK (decisions >= 0)
);

CREATE TRIGGER anchor_change BEFORE UPDATE OR DELETE ON anchor
FOR EACH ROW EXECUTE FUNCTION ledger_refuse('what a closing covers is never changed');
CREATE TRIGGER anchor_truncate BEFORE TRUNCATE ON anchor
FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse('what a closing covers is never changed');
