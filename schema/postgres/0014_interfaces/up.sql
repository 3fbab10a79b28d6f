-- What routers say of themselves over SNMP: interfaces and their octets, and flows that their tables had no place for.
-- Only added to; guarded against UPDATE, DELETE and TRUNCATE (see 0001).

-- An interface from an instant on, up to the next row of its number. Interface 0 stands for the exporter itself: from
-- this instant on it is known what interfaces it has.
CREATE TABLE interface (
    exporter INTEGER NOT NULL,
    ifindex BIGINT NOT NULL CHECK (ifindex >= 0),
    -- Milliseconds since the epoch.
    valid_from BIGINT NOT NULL,
    present BOOLEAN NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    description TEXT COLLATE "C" NOT NULL,
    alias TEXT COLLATE "C" NOT NULL,
    -- Bits a second; 0: not known.
    speed BIGINT NOT NULL CHECK (speed >= 0),
    -- IANAifType; 0: not known.
    kind BIGINT NOT NULL CHECK (kind >= 0),
    PRIMARY KEY (exporter, ifindex, valid_from)
);

-- One daemon writes; the lock keeps two that believe to be it from passing each other.
CREATE FUNCTION interface_checked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    LOCK TABLE interface IN SHARE ROW EXCLUSIVE MODE;
    IF EXISTS (
        SELECT 1 FROM interface
        WHERE exporter = NEW.exporter AND ifindex = NEW.ifindex AND valid_from >= NEW.valid_from
    ) THEN
        RAISE EXCEPTION 'what an interface was is never changed' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER interface_insert BEFORE INSERT ON interface
FOR EACH ROW EXECUTE FUNCTION interface_checked();
CREATE TRIGGER interface_change BEFORE UPDATE OR DELETE ON interface
FOR EACH ROW EXECUTE FUNCTION ledger_refuse('what an interface was is never changed');
CREATE TRIGGER interface_truncate BEFORE TRUNCATE ON interface
FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse('what an interface was is never changed');

-- What crossed an interface in an uninterrupted part of a bucket. Parts of one interface do not overlap; what lies in no
-- part is not known. Octets are those that the interface counts, with framing.
CREATE TABLE interface_octets (
    bucket BIGINT NOT NULL CHECK (bucket % 300 = 0),
    exporter INTEGER NOT NULL,
    ifindex BIGINT NOT NULL CHECK (ifindex >= 1),
    -- Milliseconds since the epoch, half-open.
    from_ms BIGINT NOT NULL CHECK (from_ms >= bucket * 1000),
    to_ms BIGINT NOT NULL CHECK (to_ms > from_ms AND to_ms <= (bucket + 300) * 1000),
    in_octets BIGINT NOT NULL CHECK (in_octets >= 0),
    out_octets BIGINT NOT NULL CHECK (out_octets >= 0),
    -- Of any kind; NULL: not known.
    in_packets BIGINT CHECK (in_packets >= 0),
    out_packets BIGINT CHECK (out_packets >= 0),
    PRIMARY KEY (bucket, exporter, ifindex, from_ms)
);

CREATE FUNCTION interface_octets_checked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    LOCK TABLE interface_octets IN SHARE ROW EXCLUSIVE MODE;
    IF EXISTS (
        SELECT 1 FROM interface_octets
        WHERE bucket = NEW.bucket AND exporter = NEW.exporter AND ifindex = NEW.ifindex
            AND from_ms < NEW.to_ms AND to_ms > NEW.from_ms
    ) THEN
        RAISE EXCEPTION 'what crossed an interface is counted once' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER interface_octets_insert BEFORE INSERT ON interface_octets
FOR EACH ROW EXECUTE FUNCTION interface_octets_checked();
CREATE TRIGGER interface_octets_change BEFORE UPDATE OR DELETE ON interface_octets
FOR EACH ROW EXECUTE FUNCTION ledger_refuse('what crossed an interface is never changed');
CREATE TRIGGER interface_octets_truncate BEFORE TRUNCATE ON interface_octets
FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse('what crossed an interface is never changed');

-- Readings of a router's flow tables in which failures had risen.
CREATE TABLE card_failures (
    exporter INTEGER NOT NULL,
    card BIGINT NOT NULL CHECK (card >= 0),
    -- Milliseconds since the epoch.
    at BIGINT NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    -- Percent.
    utilisation BIGINT CHECK (utilisation >= 0),
    active BIGINT CHECK (active >= 0),
    capacity BIGINT CHECK (capacity >= 0),
    -- Since the reading before.
    failures BIGINT NOT NULL CHECK (failures > 0),
    PRIMARY KEY (exporter, card, at)
);

CREATE TRIGGER card_failures_change BEFORE UPDATE OR DELETE ON card_failures
FOR EACH ROW EXECUTE FUNCTION ledger_refuse('what a router had no room for is never changed');
CREATE TRIGGER card_failures_truncate BEFORE TRUNCATE ON card_failures
FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse('what a router had no room for is never changed');
