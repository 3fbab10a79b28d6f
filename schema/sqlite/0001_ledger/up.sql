-- The ledger, SQLite dialect. schema/postgres holds the same tables and columns under the same version names.
--
-- What is written once (names, configuration and tariff versions, invoices that are no drafts) is guarded by the schema
-- itself. The guards on INSERT are needed too: INSERT OR REPLACE deletes the old row without firing a DELETE trigger.
-- For the same reason guarded tables have no hidden rowid that a REPLACE could name.

CREATE TABLE name (
    kind TEXT NOT NULL CHECK (kind IN ('class', 'customer', 'exporter', 'link')),
    number INTEGER NOT NULL CHECK (number >= 0),
    name TEXT NOT NULL,
    PRIMARY KEY (kind, number),
    UNIQUE (kind, name)
) STRICT, WITHOUT ROWID;

INSERT INTO name (kind, number, name) VALUES
    ('class', 0, 'default'),
    ('customer', 1, 'unassigned'),
    ('customer', 2, 'through'),
    ('customer', 3, 'local'),
    ('customer', 4, 'discarded');

-- Two conditions, so that each uses its index: with OR inside, each new name reads all names of its kind.
CREATE TRIGGER name_insert BEFORE INSERT ON name
WHEN EXISTS (SELECT 1 FROM name WHERE kind = NEW.kind AND number = NEW.number)
    OR EXISTS (SELECT 1 FROM name WHERE kind = NEW.kind AND name = NEW.name)
BEGIN SELECT RAISE(ABORT, 'a name and its number are never changed'); END;
CREATE TRIGGER name_update BEFORE UPDATE ON name
BEGIN SELECT RAISE(ABORT, 'a name and its number are never changed'); END;
CREATE TRIGGER name_delete BEFORE DELETE ON name
BEGIN SELECT RAISE(ABORT, 'a name and its number are never changed'); END;

CREATE TABLE source (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id >= 1),
    kind TEXT NOT NULL CHECK (kind IN ('journal', 'capture')),
    key TEXT NOT NULL,
    position INTEGER NOT NULL CHECK (position >= 0),
    complete INTEGER NOT NULL CHECK (complete IN (0, 1)),
    flushes INTEGER NOT NULL CHECK (flushes >= 0),
    UNIQUE (kind, key)
) STRICT;

-- What the flushes of a source add up to. A table of its own: sixteen columns are what the database library takes without
-- a much longer build.
CREATE TABLE source_total (
    source INTEGER NOT NULL PRIMARY KEY REFERENCES source (id),
    datagrams INTEGER NOT NULL CHECK (datagrams >= 0),
    malformed INTEGER NOT NULL CHECK (malformed >= 0),
    duplicates INTEGER NOT NULL CHECK (duplicates >= 0),
    records INTEGER NOT NULL CHECK (records >= 0),
    options_records INTEGER NOT NULL CHECK (options_records >= 0),
    raw_octets INTEGER NOT NULL CHECK (raw_octets >= 0),
    metered_records INTEGER NOT NULL CHECK (metered_records >= 0),
    metered_octets INTEGER NOT NULL CHECK (metered_octets >= 0),
    metered_packets INTEGER NOT NULL CHECK (metered_packets >= 0),
    expired_records INTEGER NOT NULL CHECK (expired_records >= 0),
    expired_octets INTEGER NOT NULL CHECK (expired_octets >= 0),
    not_volume INTEGER NOT NULL CHECK (not_volume >= 0),
    duplicate_observations INTEGER NOT NULL CHECK (duplicate_observations >= 0),
    duplicate_observation_octets INTEGER NOT NULL CHECK (duplicate_observation_octets >= 0),
    -- May fall: a late datagram takes its loss back.
    lost INTEGER NOT NULL
) STRICT;

CREATE TRIGGER source_insert BEFORE INSERT ON source
WHEN EXISTS (SELECT 1 FROM source WHERE id = NEW.id OR (kind = NEW.kind AND key = NEW.key))
BEGIN SELECT RAISE(ABORT, 'a source is never replaced'); END;
CREATE TRIGGER source_update BEFORE UPDATE ON source
WHEN NEW.id <> OLD.id OR NEW.kind <> OLD.kind OR NEW.key <> OLD.key OR NEW.position < OLD.position
    OR NEW.complete < OLD.complete
BEGIN SELECT RAISE(ABORT, 'a source keeps its name and only moves forward'); END;
CREATE TRIGGER source_delete BEFORE DELETE ON source
BEGIN SELECT RAISE(ABORT, 'a source is never forgotten'); END;

-- Raw sums. The order of the primary key is the order in which flushes come sorted.
CREATE TABLE usage (
    bucket INTEGER NOT NULL,
    customer INTEGER NOT NULL,
    link INTEGER NOT NULL,
    direction INTEGER NOT NULL,
    class INTEGER NOT NULL,
    family INTEGER NOT NULL,
    exporter INTEGER NOT NULL,
    rate_numerator INTEGER NOT NULL,
    rate_denominator INTEGER NOT NULL,
    rate_source INTEGER NOT NULL,
    octets INTEGER NOT NULL,
    packets INTEGER NOT NULL,
    flows INTEGER NOT NULL,
    squares_low INTEGER NOT NULL,
    squares_high INTEGER NOT NULL,
    PRIMARY KEY (bucket, customer, link, direction, class, family, exporter,
                 rate_numerator, rate_denominator, rate_source)
) STRICT, WITHOUT ROWID;

-- What decoding remembers, as of the committed positions. Scope 0 is the live exporters, else a source's id.
CREATE TABLE checkpoint (
    scope INTEGER NOT NULL CHECK (scope >= 0),
    exporter TEXT NOT NULL,
    state BLOB NOT NULL,
    PRIMARY KEY (scope, exporter)
) STRICT;

CREATE TABLE config_version (
    number INTEGER NOT NULL PRIMARY KEY CHECK (number >= 1),
    sha256 TEXT NOT NULL,
    text TEXT NOT NULL,
    valid_from INTEGER NOT NULL
) STRICT;

CREATE TRIGGER config_version_insert BEFORE INSERT ON config_version
BEGIN
    SELECT RAISE(ABORT, 'configuration versions are numbered without gaps')
        WHERE NEW.number IS NOT (SELECT coalesce(max(number), 0) + 1 FROM config_version);
    SELECT RAISE(ABORT, 'a configuration version does not begin before its predecessor')
        WHERE EXISTS (SELECT 1 FROM config_version WHERE valid_from > NEW.valid_from);
END;
CREATE TRIGGER config_version_update BEFORE UPDATE ON config_version
BEGIN SELECT RAISE(ABORT, 'a configuration version is never changed'); END;
CREATE TRIGGER config_version_delete BEFORE DELETE ON config_version
BEGIN SELECT RAISE(ABORT, 'a configuration version is never changed'); END;

CREATE TABLE tariff_version (
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    toml TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    effective TEXT NOT NULL,
    activated_at INTEGER NOT NULL,
    activated_by TEXT NOT NULL,
    PRIMARY KEY (id, version)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER tariff_version_insert BEFORE INSERT ON tariff_version
WHEN EXISTS (SELECT 1 FROM tariff_version WHERE id = NEW.id AND version = NEW.version)
BEGIN SELECT RAISE(ABORT, 'a tariff version is never changed'); END;
CREATE TRIGGER tariff_version_update BEFORE UPDATE ON tariff_version
BEGIN SELECT RAISE(ABORT, 'a tariff version is never changed'); END;
CREATE TRIGGER tariff_version_delete BEFORE DELETE ON tariff_version
BEGIN SELECT RAISE(ABORT, 'a tariff version is never changed'); END;

CREATE TABLE invoice (
    number TEXT NOT NULL PRIMARY KEY,
    period TEXT NOT NULL,
    customer TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('draft', 'final', 'credited', 'void')),
    currency TEXT NOT NULL,
    gross_minor INTEGER NOT NULL,
    document TEXT NOT NULL,
    sha256 TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX invoice_by_period ON invoice (period, customer);

CREATE TRIGGER invoice_insert BEFORE INSERT ON invoice
WHEN EXISTS (SELECT 1 FROM invoice WHERE number = NEW.number AND state <> 'draft')
BEGIN SELECT RAISE(ABORT, 'an invoice that is no draft is never changed'); END;
CREATE TRIGGER invoice_update BEFORE UPDATE ON invoice
WHEN OLD.state <> 'draft' OR (NEW.number <> OLD.number AND EXISTS (SELECT 1 FROM invoice WHERE number = NEW.number))
BEGIN SELECT RAISE(ABORT, 'an invoice that is no draft is never changed'); END;
CREATE TRIGGER invoice_delete BEFORE DELETE ON invoice
WHEN OLD.state <> 'draft'
BEGIN SELECT RAISE(ABORT, 'an invoice that is no draft is never changed'); END;
