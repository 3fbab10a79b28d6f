-- The books: a double-entry ledger of money and octets, periods that are closed, and invoices that are issued.
--
-- An entry's postings are inserted first, under the number that it is going to have; the entry seals them, and is checked
-- when it is inserted. Its hash is made by the program (`ledger/books.rs`); the chain of hashes is checked here.
-- Sums of bigint are numeric here, so none overflows.

CREATE FUNCTION ledger_refusal(message TEXT) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', message USING ERRCODE = 'restrict_violation';
END $$;

CREATE TABLE account (
    number BIGINT NOT NULL PRIMARY KEY CHECK (number >= 1),
    kind TEXT COLLATE "C" NOT NULL CHECK (kind IN ('customer', 'exporter', 'income', 'receivable', 'reserved', 'tax')),
    name TEXT COLLATE "C" NOT NULL,
    UNIQUE (kind, name)
);

CREATE TRIGGER account_change BEFORE UPDATE OR DELETE ON account
FOR EACH ROW EXECUTE FUNCTION ledger_refuse('an account is never changed');
CREATE TRIGGER account_truncate BEFORE TRUNCATE ON account
FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse('an account is never changed');

CREATE TABLE entry (
    seq BIGINT NOT NULL PRIMARY KEY CHECK (seq >= 1),
    kind TEXT COLLATE "C" NOT NULL CHECK (kind IN ('close', 'credit', 'invoice', 'late', 'octets', 'void')),
    -- What it is the entry of; no second one is made of the same.
    key TEXT COLLATE "C" NOT NULL UNIQUE,
    day TEXT COLLATE "C" NOT NULL CHECK (length(day) = 10),
    -- The invoice, credit note or period that it is about; empty where it is about none.
    reference TEXT COLLATE "C" NOT NULL,
    -- SHA-256 of that document, or of what was closed; empty where there is none.
    digest TEXT NOT NULL CHECK (length(digest) IN (0, 64)),
    at BIGINT NOT NULL,
    made_by TEXT NOT NULL,
    postings BIGINT NOT NULL CHECK (postings >= 0),
    prev TEXT NOT NULL CHECK (length(prev) = 64),
    hash TEXT COLLATE "C" NOT NULL UNIQUE CHECK (length(hash) = 64)
);

CREATE INDEX entry_by_kind ON entry (kind, day);
CREATE INDEX entry_by_reference ON entry (reference);

CREATE TABLE posting (
    entry BIGINT NOT NULL REFERENCES entry (seq) DEFERRABLE INITIALLY DEFERRED,
    line BIGINT NOT NULL CHECK (line >= 1),
    account BIGINT NOT NULL REFERENCES account (number),
    commodity TEXT COLLATE "C" NOT NULL CHECK (length(commodity) > 0),
    amount BIGINT NOT NULL CHECK (amount <> 0),
    PRIMARY KEY (entry, line)
);

CREATE FUNCTION entry_checked() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    before TEXT;
    found BIGINT;
    highest BIGINT;
BEGIN
    -- One after the other, so that no two go on from the same entry.
    LOCK TABLE entry IN SHARE ROW EXCLUSIVE MODE;
    IF NEW.seq <> (SELECT coalesce(max(seq), 0) + 1 FROM entry) THEN
        PERFORM ledger_refusal('entries are numbered without gaps');
    END IF;
    SELECT hash INTO before FROM entry WHERE seq = NEW.seq - 1;
    IF NEW.prev <> coalesce(before, repeat('0', 64)) THEN
        PERFORM ledger_refusal('an entry goes on from the hash of the one before');
    END IF;
    SELECT count(*), coalesce(max(line), 0) INTO found, highest FROM posting WHERE entry = NEW.seq;
    IF NEW.postings <> found OR NEW.postings <> highest THEN
        PERFORM ledger_refusal('the postings of an entry are numbered without gaps');
    END IF;
    IF NEW.postings = 0 AND NEW.kind IN ('late', 'octets') THEN
        PERFORM ledger_refusal('an entry of this kind has postings');
    END IF;
    IF EXISTS (SELECT 1 FROM posting WHERE entry = NEW.seq GROUP BY commodity HAVING sum(amount) <> 0) THEN
        PERFORM ledger_refusal('the postings of an entry balance in each commodity');
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER entry_insert BEFORE INSERT ON entry FOR EACH ROW EXECUTE FUNCTION entry_checked();
CREATE TRIGGER entry_change BEFORE UPDATE OR DELETE ON entry
FOR EACH ROW EXECUTE FUNCTION ledger_refuse('an entry is never changed');
CREATE TRIGGER entry_truncate BEFORE TRUNCATE ON entry
FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse('an entry is never changed');

CREATE FUNCTION posting_checked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF EXISTS (SELECT 1 FROM entry WHERE seq = NEW.entry) THEN
            PERFORM ledger_refusal('the entry is sealed');
        END IF;
        RETURN NEW;
    END IF;
    -- One that no entry has sealed may go.
    IF EXISTS (SELECT 1 FROM entry WHERE seq = OLD.entry) THEN
        PERFORM ledger_refusal('the entry is sealed');
    END IF;
    RETURN OLD;
END $$;

CREATE TRIGGER posting_insert BEFORE INSERT OR DELETE ON posting FOR EACH ROW EXECUTE FUNCTION posting_checked();
CREATE TRIGGER posting_change BEFORE UPDATE ON posting
FOR EACH ROW EXECUTE FUNCTION ledger_refuse('a posting is never changed');
CREATE TRIGGER posting_truncate BEFORE TRUNCATE ON posting
FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse('a posting is never changed');

-- Up to which bucket a customer's usage is closed: earlier buckets take no more. Customer 0 stands for all that have no
-- row of their own.
CREATE TABLE closed (
    customer BIGINT NOT NULL PRIMARY KEY CHECK (customer >= 0),
    until BIGINT NOT NULL
);

CREATE INDEX closed_until ON closed (until);

CREATE FUNCTION closed_checked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.until < (SELECT until FROM closed WHERE customer = NEW.customer)
        OR NEW.until < (SELECT until FROM closed WHERE customer = 0) THEN
        PERFORM ledger_refusal('what is closed stays closed');
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER closed_insert BEFORE INSERT ON closed FOR EACH ROW EXECUTE FUNCTION closed_checked();
CREATE TRIGGER closed_update BEFORE UPDATE ON closed FOR EACH ROW
WHEN (NEW.customer <> OLD.customer OR NEW.until < OLD.until)
EXECUTE FUNCTION ledger_refuse('what is closed stays closed');
CREATE TRIGGER closed_delete BEFORE DELETE ON closed
FOR EACH ROW EXECUTE FUNCTION ledger_refuse('what is closed stays closed');
CREATE TRIGGER closed_truncate BEFORE TRUNCATE ON closed
FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse('what is closed stays closed');

CREATE FUNCTION closed_until(of BIGINT) RETURNS BIGINT LANGUAGE sql STABLE AS $$
    SELECT coalesce((SELECT until FROM closed WHERE customer = of), (SELECT until FROM closed WHERE customer = 0))
$$;

-- A customer's period as it was closed.
CREATE TABLE closure (
    customer BIGINT NOT NULL,
    period TEXT COLLATE "C" NOT NULL,
    from_bucket BIGINT NOT NULL,
    until_bucket BIGINT NOT NULL,
    tariff TEXT COLLATE "C" NOT NULL,
    tariff_version BIGINT NOT NULL,
    root TEXT NOT NULL CHECK (length(root) = 64),
    entry BIGINT NOT NULL REFERENCES entry (seq),
    PRIMARY KEY (customer, period)
);

CREATE FUNCTION closure_checked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT coalesce(NEW.until_bucket <= closed_until(NEW.customer), false) THEN
        PERFORM ledger_refusal('a period is sealed after it was closed');
    END IF;
    IF NOT EXISTS (SELECT 1 FROM entry WHERE seq = NEW.entry AND kind = 'close' AND reference = NEW.period) THEN
        PERFORM ledger_refusal('a period is sealed by the entry of its closing');
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER closure_insert BEFORE INSERT ON closure FOR EACH ROW EXECUTE FUNCTION closure_checked();
CREATE TRIGGER closure_change BEFORE UPDATE OR DELETE ON closure
FOR EACH ROW EXECUTE FUNCTION ledger_refuse('a closed period is never changed');
CREATE TRIGGER closure_truncate BEFORE TRUNCATE ON closure
FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse('a closed period is never changed');

-- Usage of closed buckets that came late. `carried` is the bucket up to which its customer was closed when it came: the
-- first of the period that it is invoiced in.
CREATE TABLE late_usage_row (
    carried BIGINT NOT NULL,
    bucket BIGINT NOT NULL,
    customer BIGINT NOT NULL,
    -- A number of usage_series.
    series BIGINT NOT NULL,
    octets BIGINT NOT NULL,
    packets BIGINT NOT NULL,
    flows BIGINT NOT NULL,
    squares_low BIGINT NOT NULL,
    squares_high BIGINT NOT NULL,
    CHECK (bucket < carried),
    PRIMARY KEY (carried, bucket, customer, series)
);

CREATE VIEW late_usage AS
SELECT carried, bucket, customer, link, direction, class, family, exporter, rate_numerator, rate_denominator, rate_source,
    octets, packets, flows, squares_low, squares_high
FROM late_usage_row LEFT JOIN usage_series ON usage_series.id = late_usage_row.series;

CREATE FUNCTION late_usage_checked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.carried IS DISTINCT FROM closed_until(NEW.customer) THEN
        PERFORM ledger_refusal('late usage is carried into the open period');
    END IF;
    IF TG_OP = 'UPDATE' THEN
        IF NEW.carried <> OLD.carried OR NEW.bucket <> OLD.bucket OR NEW.customer <> OLD.customer
            OR NEW.series <> OLD.series OR NEW.octets < OLD.octets OR NEW.packets < OLD.packets THEN
            PERFORM ledger_refusal('late usage only grows, and in the open period');
        END IF;
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER late_usage_row_insert BEFORE INSERT OR UPDATE ON late_usage_row
FOR EACH ROW EXECUTE FUNCTION late_usage_checked();
CREATE TRIGGER late_usage_row_delete BEFORE DELETE ON late_usage_row
FOR EACH ROW EXECUTE FUNCTION ledger_refuse('usage is never forgotten');
CREATE TRIGGER late_usage_row_truncate BEFORE TRUNCATE ON late_usage_row
FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse('usage is never forgotten');
CREATE TRIGGER usage_row_delete BEFORE DELETE ON usage_row
FOR EACH ROW EXECUTE FUNCTION ledger_refuse('usage is never forgotten');
CREATE TRIGGER usage_row_truncate BEFORE TRUNCATE ON usage_row
FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse('usage is never forgotten');

-- An invoice or credit note that has a number.
CREATE TABLE issue (
    number TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES invoice (number),
    series TEXT COLLATE "C" NOT NULL,
    place BIGINT NOT NULL CHECK (place >= 1),
    kind TEXT NOT NULL CHECK (kind IN ('credit', 'invoice')),
    -- The invoice that a credit note takes back, or that an invoice takes the place of; empty where there is none.
    corrects TEXT COLLATE "C" NOT NULL,
    entry BIGINT NOT NULL UNIQUE REFERENCES entry (seq),
    UNIQUE (series, place)
);

CREATE UNIQUE INDEX issue_credits ON issue (corrects) WHERE kind = 'credit';

CREATE FUNCTION issue_checked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    LOCK TABLE issue IN SHARE ROW EXCLUSIVE MODE;
    IF NEW.place <> (SELECT coalesce(max(place), 0) + 1 FROM issue WHERE series = NEW.series) THEN
        PERFORM ledger_refusal('invoices are numbered without gaps');
    END IF;
    IF NOT EXISTS (SELECT 1 FROM entry JOIN invoice ON invoice.number = entry.reference
        WHERE entry.seq = NEW.entry AND entry.kind = NEW.kind AND entry.reference = NEW.number
            AND entry.digest = invoice.sha256 AND invoice.state = 'final') THEN
        PERFORM ledger_refusal('an invoice is in the books under its number and hash');
    END IF;
    IF NEW.kind = 'credit' AND NOT EXISTS (SELECT 1 FROM issue JOIN invoice ON invoice.number = issue.number
        WHERE issue.number = NEW.corrects AND issue.kind = 'invoice' AND invoice.state = 'final') THEN
        PERFORM ledger_refusal('a credit note takes back a final invoice');
    END IF;
    IF NEW.kind = 'invoice' AND EXISTS (
        SELECT 1 FROM issue JOIN invoice AS other ON other.number = issue.number
            JOIN invoice AS own ON own.period = other.period AND own.customer = other.customer
        WHERE own.number = NEW.number AND issue.kind = 'invoice' AND other.state = 'final') THEN
        PERFORM ledger_refusal('the customer has a final invoice of this period');
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER issue_insert BEFORE INSERT ON issue FOR EACH ROW EXECUTE FUNCTION issue_checked();
CREATE TRIGGER issue_change BEFORE UPDATE OR DELETE ON issue
FOR EACH ROW EXECUTE FUNCTION ledger_refuse('an issued invoice is never changed');
CREATE TRIGGER issue_truncate BEFORE TRUNCATE ON issue
FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse('an issued invoice is never changed');

-- When an invoice left the house; from then on it cannot be made void.
CREATE TABLE delivery (
    number TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES issue (number),
    at BIGINT NOT NULL,
    made_by TEXT NOT NULL
);

CREATE TRIGGER delivery_change BEFORE UPDATE OR DELETE ON delivery
FOR EACH ROW EXECUTE FUNCTION ledger_refuse('a delivery is never changed');
CREATE TRIGGER delivery_truncate BEFORE TRUNCATE ON delivery
FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse('a delivery is never changed');

-- A final invoice changes its state once, and only by what the books say; no other part of it changes.
CREATE FUNCTION invoice_checked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'draft' AND NOT EXISTS (SELECT 1 FROM entry WHERE reference = NEW.number
            AND digest = NEW.sha256 AND kind IN ('credit', 'invoice') AND NEW.state = 'final') THEN
            PERFORM ledger_refusal('an invoice that is no draft is in the books');
        END IF;
        RETURN NEW;
    END IF;
    IF TG_OP = 'DELETE' THEN
        IF OLD.state <> 'draft' THEN
            PERFORM ledger_refusal('an invoice that is no draft is never changed');
        END IF;
        RETURN OLD;
    END IF;
    IF (OLD.state <> 'draft' OR NEW.state <> 'draft') AND NOT (
        OLD.state = 'final' AND NEW.number = OLD.number AND NEW.period = OLD.period
        AND NEW.customer = OLD.customer AND NEW.currency = OLD.currency AND NEW.gross_minor = OLD.gross_minor
        AND NEW.document = OLD.document AND NEW.sha256 = OLD.sha256
        AND (NEW.state = 'credited' AND EXISTS (SELECT 1 FROM issue WHERE corrects = NEW.number AND kind = 'credit')
            OR NEW.state = 'void' AND EXISTS (SELECT 1 FROM entry WHERE reference = NEW.number AND kind = 'void')
                AND NOT EXISTS (SELECT 1 FROM delivery WHERE number = NEW.number))) THEN
        PERFORM ledger_refusal('an invoice that is no draft is never changed');
    END IF;
    RETURN NEW;
END $$;

DROP TRIGGER invoice_change ON invoice;
CREATE TRIGGER invoice_change BEFORE INSERT OR UPDATE OR DELETE ON invoice
FOR EACH ROW EXECUTE FUNCTION invoice_checked();
