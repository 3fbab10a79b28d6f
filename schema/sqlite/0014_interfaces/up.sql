-- What routers say of themselves over SNMP: interfaces and their octets, and flows that their tables had no place for.
-- Only added to; guarded against UPDATE, DELETE and REPLACE (see 0001).

-- An interface from an instant on, up to the next row of its number. Interface 0 stands for the exporter itself: from
-- this instant on it is known what interfaces it has.
CREATE TABLE interface (
    exporter INTEGER NOT NULL,
    ifindex INTEGER NOT NULL CHECK (ifindex >= 0),
    -- Milliseconds since the epoch.
    valid_from INTEGER NOT NULL,
    present INTEGER NOT NULL CHECK (present IN (0, 1)),
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    alias TEXT NOT NULL,
    -- Bits a second; 0: not known.
    speed INTEGER NOT NULL CHECK (speed >= 0),
    -- IANAifType; 0: not known.
    kind INTEGER NOT NULL CHECK (kind >= 0),
    PRIMARY KEY (exporter, ifindex, valid_from)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER interface_insert BEFORE INSERT ON interface
WHEN EXISTS (
    SELECT 1 FROM interface
    WHERE exporter = NEW.exporter AND ifindex = NEW.ifindex AND valid_from >= NEW.valid_from
)
BEGIN SELECT RAISE(ABORT, 'what an interface was is never changed'); END;
CREATE TRIGGER interface_update BEFORE UPDATE ON interface
BEGIN SELECT RAISE(ABORT, 'what an interface was is never changed'); END;
CREATE TRIGGER interface_delete BEFORE DELETE ON interface
BEGIN SELECT RAISE(ABORT, 'what an interface was is never changed'); END;

-- What crossed an interface in an uninterrupted part of a bucket. Parts of one interface do not overlap; what lies in no
-- part is not known. Octets are those that the interface counts, with framing.
CREATE TABLE interface_octets (
    bucket INTEGER NOT NULL CHECK (bucket % 300 = 0),
    exporter INTEGER NOT NULL,
    ifindex INTEGER NOT NULL CHECK (ifindex >= 1),
    -- Milliseconds since the epoch, half-open.
    from_ms INTEGER NOT NULL CHECK (from_ms >= bucket * 1000),
    to_ms INTEGER NOT NULL CHECK (to_ms > from_ms AND to_ms <= (bucket + 300) * 1000),
    in_octets INTEGER NOT NULL CHECK (in_octets >= 0),
    out_octets INTEGER NOT NULL CHECK (out_octets >= 0),
    -- Of any kind; NULL: not known.
    in_packets INTEGER CHECK (in_packets >= 0),
    out_packets INTEGER CHECK (out_packets >= 0),
    PRIMARY KEY (bucket, exporter, ifindex, from_ms)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER interface_octets_insert BEFORE INSERT ON interface_octets
WHEN EXISTS (
    SELECT 1 FROM interface_octets
    WHERE bucket = NEW.bucket AND exporter = NEW.exporter AND ifindex = NEW.ifindex
        AND from_ms < NEW.to_ms AND to_ms > NEW.from_ms
)
BEGIN SELECT RAISE(ABORT, 'what crossed an interface is counted once'); END;
CREATE TRIGGER interface_octets_update BEFORE UPDATE ON interface_octets
BEGIN SELECT RAISE(ABORT, 'what crossed an interface is never changed'); END;
CREATE TRIGGER interface_octets_delete BEFORE DELETE ON interface_octets
BEGIN SELECT RAISE(ABORT, 'what crossed an interface is never changed'); END;

-- Readings of a router's flow tables in which failures had risen.
CREATE TABLE card_failures (
    exporter INTEGER NOT NULL,
    card INTEGER NOT NULL CHECK (card >= 0),
    -- Milliseconds since the epoch.
    at INTEGER NOT NULL,
    name TEXT NOT NULL,
    -- Percent.
    utilisation INTEGER CHECK (utilisation >= 0),
    active INTEGER CHECK (active >= 0),
    capacity INTEGER CHECK (capacity >= 0),
    -- Since the reading before.
    failures INTEGER NOT NULL CHECK (failures > 0),
    PRIMARY KEY (exporter, card, at)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER card_failures_insert BEFORE INSERT ON card_failures
WHEN EXISTS (SELECT 1 FROM card_failures WHERE exporter = NEW.exporter AND card = NEW.card AND at = NEW.at)
BEGIN SELECT RAISE(ABORT, 'what a router had no room for is never changed'); END;
CREATE TRIGGER card_failures_update BEFORE UPDATE ON card_failures
BEGIN SELECT RAISE(ABORT, 'what a router had no room for is never changed'); END;
CREATE TRIGGER card_failures_delete BEFORE DELETE ON card_failures
BEGIN SELECT RAISE(ABORT, 'what a router had no room for is never changed'); END;
