-- The ledger, PostgreSQL dialect. schema/sqlite holds the same tables and columns under the same version names.
--
-- Text keys are collated "C", so that both dialects sort alike. The guards also refuse TRUNCATE, which fires no row
-- trigger.

CREATE FUNCTION ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'restrict_violation';
END $$;

CREATE TABLE name (
    kind TEXT COLLATE "C" NOT NULL CHECK (kind IN ('class', 'customer', 'exporter', 'link')),
    number BIGINT NOT NULL CHECK (number >= 0),
    name TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (kind, number),
    UNIQUE (kind, name)
);

INSERT INTO name (kind, number, name) VALUES
    ('class', 0, 'default'),
    ('customer', 1, 'unassigned'),
    ('customer', 2, 'through'),
    ('customer', 3, 'local'),
    ('customer', 4, 'discarded');

CREATE TRIGGER name_change BEFORE UPDATE OR DELETE ON name
FOR EACH ROW EXECUTE FUNCTION ledger_refuse('a name and its number are never changed');
CREATE TRIGGER name_truncate BEFORE TRUNCATE ON name
FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse('a name and its number are never changed');

CREATE TABLE source (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id >= 1),
    kind TEXT COLLATE "C" NOT NULL CHECK (kind IN ('journal', 'capture')),
    key TEXT COLLATE "C" NOT NULL,
    position BIGINT NOT NULL CHECK (position >= 0),
    complete BOOLEAN NOT NULL,
    flushes BIGINT NOT NULL CHECK (flushes >= 0),
    UNIQUE (kind, key)
);

-- What the flushes of a source add up to. A table of its own: sixteen columns are what the database library takes without
-- a much longer build.
CREATE TABLE source_total (
    source BIGINT NOT NULL PRIMARY KEY REFERENCES source (id),
    datagrams BIGINT NOT NULL CHECK (datagrams >= 0),
    malformed BIGINT NOT NULL CHECK (malformed >= 0),
    duplicates BIGINT NOT NULL CHECK (duplicates >= 0),
    records BIGINT NOT NULL CHECK (records >= 0),
    options_records BIGINT NOT NULL CHECK (options_records >= 0),
    raw_octets BIGINT NOT NULL CHECK (raw_octets >= 0),
    metered_records BIGINT NOT NULL CHECK (metered_records >= 0),
    metered_octets BIGINT NOT NULL CHECK (metered_octets >= 0),
    metered_packets BIGINT NOT NULL CHECK (metered_packets >= 0),
    expired_records BIGINT NOT NULL CHECK (expired_records >= 0),
    expired_octets BIGINT NOT NULL CHECK (expired_octets >= 0),
    not_volume BIGINT NOT NULL CHECK (not_volume >= 0),
    duplicate_observations BIGINT NOT NULL CHECK (duplicate_observations >= 0),
    duplicate_observation_octets BIGINT NOT NULL CHECK (duplicate_observation_octets >= 0),
    -- May fall: a late datagram takes its loss back.
    lost BIGINT NOT NULL
);

CREATE TRIGGER source_update BEFORE UPDATE ON source FOR EACH ROW
WHEN (NEW.id <> OLD.id OR NEW.kind <> OLD.kind OR NEW.key <> OLD.key OR NEW.position < OLD.position
    OR NEW.complete < OLD.complete)
EXECUTE FUNCTION ledger_refuse('a source keeps its name and only moves forward');
CREATE TRIGGER source_delete BEFORE DELETE ON source
FOR EACH ROW EXECUTE FUNCTION ledger_refuse('a source is never forgotten');
CREATE TRIGGER source_truncate BEFORE TRUNCATE ON source
FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse('a source is never forgotten');

-- Raw sums. The order of the primary key is the order in which flushes come sorted.
CREATE TABLE usage (
    bucket BIGINT NOT NULL,
    customer BIGINT NOT NULL,
    link INTEGER NOT NULL,
    direction INTEGER NOT NULL,
    class INTEGER NOT NULL,
    family INTEGER NOT NULL,
    exporter INTEGER NOT NULL,
    rate_numerator BIGINT NOT NULL,
    rate_denominator BIGINT NOT NULL,
    rate_source INTEGER NOT NULL,
    octets BIGINT NOT NULL,
    packets BIGINT NOT NULL,
    flows BIGINT NOT NULL,
    squares_low BIGINT NOT NULL,
    squares_high BIGINT NOT NULL,
    PRIMARY KEY (bucket, customer, link, direction, class, family, exporter,
                 rate_numerator, rate_denominator, rate_source)
);

-- What decoding remembers, as of the committed positions. Scope 0 is the live exporters, else a source's id.
CREATE TABLE checkpoint (
    scope BIGINT NOT NULL CHECK (scope >= 0),
    exporter TEXT COLLATE "C" NOT NULL,
    state BYTEA NOT NULL,
    PRIMARY KEY (scope, exporter)
);

CREATE TABLE config_version (
    number BIGINT NOT NULL PRIMARY KEY CHECK (number >= 1),
    sha256 TEXT NOT NULL,
    text TEXT NOT NULL,
    valid_from BIGINT NOT NULL
);

CREATE FUNCTION config_version_in_order() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.number <> (SELECT coalesce(max(number), 0) + 1 FROM config_version) THEN
        RAISE EXCEPTION 'configuration versions are numbered without gaps' USING ERRCODE = 'restrict_violation';
    END IF;
    IF EXISTS (SELECT 1 FROM config_version WHERE valid_from > NEW.valid_from) THEN
        RAISE EXCEPTION 'a configuration version does not begin before its predecessor'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER config_version_insert BEFORE INSERT ON config_version
FOR EACH ROW EXECUTE FUNCTION config_version_in_order();
CREATE TRIGGER config_version_change BEFORE UPDATE OR DELETE ON config_version
FOR EACH ROW EXECUTE FUNCTION ledger_refuse('a configuration version is never changed');
CREATE TRIGGER config_version_truncate BEFORE TRUNCATE ON config_version
FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse('a configuration version is never changed');

CREATE TABLE tariff_version (
    id TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    toml TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    effective TEXT NOT NULL,
    activated_at BIGINT NOT NULL,
    activated_by TEXT NOT NULL,
    PRIMARY KEY (id, version)
);

CREATE TRIGGER tariff_version_change BEFORE UPDATE OR DELETE ON tariff_version
FOR EACH ROW EXECUTE FUNCTION ledger_refuse('a tariff version is never changed');
CREATE TRIGGER tariff_version_truncate BEFORE TRUNCATE ON tariff_version
FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse('a tariff version is never changed');

CREATE TABLE invoice (
    number TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    period TEXT COLLATE "C" NOT NULL,
    customer TEXT COLLATE "C" NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('draft', 'final', 'credited', 'void')),
    currency TEXT NOT NULL,
    gross_minor BIGINT NOT NULL,
    document TEXT NOT NULL,
    sha256 TEXT NOT NULL
);

CREATE INDEX invoice_by_period ON invoice (period, customer);

CREATE TRIGGER invoice_change BEFORE UPDATE OR DELETE ON invoice FOR EACH ROW
WHEN (OLD.state <> 'draft')
EXECUTE FUNCTION ledger_refuse('an invoice that is no draft is never changed');
CREATE TRIGGER invoice_truncate BEFORE TRUNCATE ON invoice
FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse('an invoice that is no draft is never changed');
