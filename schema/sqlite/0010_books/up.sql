-- The books: a double-entry ledger of money and octets, periods that are closed, and invoices that are issued.
--
-- An entry's postings are inserted first, under the number that it is going to have; the entry seals them, and is checked
-- when it is inserted. Its hash is made by the program (`ledger/books.rs`); the chain of hashes is checked here.
-- Everything is guarded against UPDATE, DELETE and REPLACE (see 0001). Amounts are summed in two halves, so that no
-- amount, however large, makes a sum overflow.

CREATE TABLE account (
    number INTEGER NOT NULL PRIMARY KEY CHECK (number >= 1),
    kind TEXT NOT NULL CHECK (kind IN ('customer', 'exporter', 'income', 'receivable', 'reserved', 'tax')),
    name TEXT NOT NULL,
    UNIQUE (kind, name)
) STRICT;

CREATE TRIGGER account_insert BEFORE INSERT ON account
WHEN EXISTS (SELECT 1 FROM account WHERE number = NEW.number)
    OR EXISTS (SELECT 1 FROM account WHERE kind = NEW.kind AND name = NEW.name)
BEGIN SELECT RAISE(ABORT, 'an account is never changed'); END;
CREATE TRIGGER account_update BEFORE UPDATE ON account
BEGIN SELECT RAISE(ABORT, 'an account is never changed'); END;
CREATE TRIGGER account_delete BEFORE DELETE ON account
BEGIN SELECT RAISE(ABORT, 'an account is never changed'); END;

CREATE TABLE entry (
    seq INTEGER NOT NULL PRIMARY KEY CHECK (seq >= 1),
    kind TEXT NOT NULL CHECK (kind IN ('close', 'credit', 'invoice', 'late', 'octets', 'void')),
    -- What it is the entry of; no second one is made of the same.
    key TEXT NOT NULL UNIQUE,
    day TEXT NOT NULL CHECK (length(day) = 10),
    -- The invoice, credit note or period that it is about; empty where it is about none.
    reference TEXT NOT NULL,
    -- SHA-256 of that document, or of what was closed; empty where there is none.
    digest TEXT NOT NULL CHECK (length(digest) IN (0, 64)),
    at INTEGER NOT NULL,
    made_by TEXT NOT NULL,
    postings INTEGER NOT NULL CHECK (postings >= 0),
    prev TEXT NOT NULL CHECK (length(prev) = 64),
    hash TEXT NOT NULL UNIQUE CHECK (length(hash) = 64)
) STRICT;

CREATE INDEX entry_by_kind ON entry (kind, day);
CREATE INDEX entry_by_reference ON entry (reference);

CREATE TABLE posting (
    entry INTEGER NOT NULL REFERENCES entry (seq) DEFERRABLE INITIALLY DEFERRED,
    line INTEGER NOT NULL CHECK (line >= 1),
    account INTEGER NOT NULL REFERENCES account (number),
    commodity TEXT NOT NULL CHECK (length(commodity) > 0),
    amount INTEGER NOT NULL CHECK (amount <> 0),
    PRIMARY KEY (entry, line)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER entry_insert BEFORE INSERT ON entry
BEGIN
    SELECT RAISE(ABORT, 'entries are numbered without gaps')
        WHERE NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM entry);
    SELECT RAISE(ABORT, 'an entry is never made twice')
        WHERE EXISTS (SELECT 1 FROM entry WHERE key = NEW.key)
            OR EXISTS (SELECT 1 FROM entry WHERE hash = NEW.hash);
    SELECT RAISE(ABORT, 'an entry goes on from the hash of the one before')
        WHERE NEW.prev IS NOT coalesce((SELECT hash FROM entry WHERE seq = NEW.seq - 1), printf('%064d', 0));
    SELECT RAISE(ABORT, 'the postings of an entry are numbered without gaps')
        WHERE NEW.postings <> (SELECT count(*) FROM posting WHERE entry = NEW.seq)
            OR NEW.postings <> (SELECT coalesce(max(line), 0) FROM posting WHERE entry = NEW.seq);
    SELECT RAISE(ABORT, 'an entry of this kind has postings')
        WHERE NEW.postings = 0 AND NEW.kind IN ('late', 'octets');
    SELECT RAISE(ABORT, 'the postings of an entry balance in each commodity')
        WHERE EXISTS (
            SELECT 1 FROM posting WHERE entry = NEW.seq GROUP BY commodity
            HAVING sum(amount & 4294967295) & 4294967295 <> 0
                OR sum(amount >> 32) + (sum(amount & 4294967295) >> 32) <> 0
        );
END;
CREATE TRIGGER entry_update BEFORE UPDATE ON entry
BEGIN SELECT RAISE(ABORT, 'an entry is never changed'); END;
CREATE TRIGGER entry_delete BEFORE DELETE ON entry
BEGIN SELECT RAISE(ABORT, 'an entry is never changed'); END;

CREATE TRIGGER posting_insert BEFORE INSERT ON posting
BEGIN
    SELECT RAISE(ABORT, 'the entry is sealed') WHERE EXISTS (SELECT 1 FROM entry WHERE seq = NEW.entry);
    SELECT RAISE(ABORT, 'a posting is never changed')
        WHERE EXISTS (SELECT 1 FROM posting WHERE entry = NEW.entry AND line = NEW.line);
END;
CREATE TRIGGER posting_update BEFORE UPDATE ON posting
BEGIN SELECT RAISE(ABORT, 'a posting is never changed'); END;
-- One that no entry has sealed is left of a program that did not keep the keys, and may go.
CREATE TRIGGER posting_delete BEFORE DELETE ON posting
WHEN EXISTS (SELECT 1 FROM entry WHERE seq = OLD.entry)
BEGIN SELECT RAISE(ABORT, 'the entry is sealed'); END;

-- Up to which bucket a customer's usage is closed: earlier buckets take no more. Customer 0 stands for all that have no
-- row of their own.
CREATE TABLE closed (
    customer INTEGER NOT NULL PRIMARY KEY CHECK (customer >= 0),
    until INTEGER NOT NULL
) STRICT;

CREATE INDEX closed_until ON closed (until);

CREATE TRIGGER closed_insert BEFORE INSERT ON closed
BEGIN
    SELECT RAISE(ABORT, 'what is closed stays closed')
        WHERE NEW.until < (SELECT until FROM closed WHERE customer = NEW.customer)
            OR NEW.until < (SELECT until FROM closed WHERE customer = 0);
END;
CREATE TRIGGER closed_update BEFORE UPDATE ON closed
WHEN NEW.customer <> OLD.customer OR NEW.until < OLD.until
BEGIN SELECT RAISE(ABORT, 'what is closed stays closed'); END;
CREATE TRIGGER closed_delete BEFORE DELETE ON closed
BEGIN SELECT RAISE(ABORT, 'what is closed stays closed'); END;

-- A customer's period as it was closed.
CREATE TABLE closure (
    customer INTEGER NOT NULL,
    period TEXT NOT NULL,
    from_bucket INTEGER NOT NULL,
    until_bucket INTEGER NOT NULL,
    tariff TEXT NOT NULL,
    tariff_version INTEGER NOT NULL,
    root TEXT NOT NULL CHECK (length(root) = 64),
    entry INTEGER NOT NULL REFERENCES entry (seq),
    PRIMARY KEY (customer, period)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER closure_insert BEFORE INSERT ON closure
BEGIN
    SELECT RAISE(ABORT, 'a closed period is never changed')
        WHERE EXISTS (SELECT 1 FROM closure WHERE customer = NEW.customer AND period = NEW.period);
    SELECT RAISE(ABORT, 'a period is sealed after it was closed')
        WHERE NOT coalesce(NEW.until_bucket <= coalesce((SELECT until FROM closed WHERE customer = NEW.customer),
            (SELECT until FROM closed WHERE customer = 0)), 0);
    SELECT RAISE(ABORT, 'a period is sealed by the entry of its closing')
        WHERE NOT EXISTS (SELECT 1 FROM entry WHERE seq = NEW.entry AND kind = 'close' AND reference = NEW.period);
END;
CREATE TRIGGER closure_update BEFORE UPDATE ON closure
BEGIN SELECT RAISE(ABORT, 'a closed period is never changed'); END;
CREATE TRIGGER closure_delete BEFORE DELETE ON closure
BEGIN SELECT RAISE(ABORT, 'a closed period is never changed'); END;

-- Usage of closed buckets that came late. `carried` is the bucket up to which its customer was closed when it came: the
-- first of the period that it is invoiced in.
CREATE TABLE late_usage_row (
    carried INTEGER NOT NULL,
    bucket INTEGER NOT NULL,
    customer INTEGER NOT NULL,
    -- A number of usage_series.
    series INTEGER NOT NULL,
    octets INTEGER NOT NULL,
    packets INTEGER NOT NULL,
    flows INTEGER NOT NULL,
    squares_low INTEGER NOT NULL,
    squares_high INTEGER NOT NULL,
    CHECK (bucket < carried),
    PRIMARY KEY (carried, bucket, customer, series)
) STRICT, WITHOUT ROWID;

CREATE VIEW late_usage AS
SELECT carried, bucket, customer, link, direction, class, family, exporter, rate_numerator, rate_denominator, rate_source,
    octets, packets, flows, squares_low, squares_high
FROM late_usage_row LEFT JOIN usage_series ON usage_series.id = late_usage_row.series;

CREATE TRIGGER late_usage_row_insert BEFORE INSERT ON late_usage_row
WHEN NEW.carried IS NOT coalesce((SELECT until FROM closed WHERE customer = NEW.customer),
    (SELECT until FROM closed WHERE customer = 0))
BEGIN SELECT RAISE(ABORT, 'late usage is carried into the open period'); END;
CREATE TRIGGER late_usage_row_update BEFORE UPDATE ON late_usage_row
WHEN NEW.carried <> OLD.carried OR NEW.bucket <> OLD.bucket OR NEW.customer <> OLD.customer
    OR NEW.series <> OLD.series OR NEW.octets < OLD.octets OR NEW.packets < OLD.packets
    OR NEW.carried IS NOT coalesce((SELECT until FROM closed WHERE customer = NEW.customer),
        (SELECT until FROM closed WHERE customer = 0))
BEGIN SELECT RAISE(ABORT, 'late usage only grows, and in the open period'); END;
CREATE TRIGGER late_usage_row_delete BEFORE DELETE ON late_usage_row
BEGIN SELECT RAISE(ABORT, 'usage is never forgotten'); END;
CREATE TRIGGER usage_row_delete BEFORE DELETE ON usage_row
BEGIN SELECT RAISE(ABORT, 'usage is never forgotten'); END;

-- An invoice or credit note that has a number.
CREATE TABLE issue (
    number TEXT NOT NULL PRIMARY KEY REFERENCES invoice (number),
    series TEXT NOT NULL,
    place INTEGER NOT NULL CHECK (place >= 1),
    kind TEXT NOT NULL CHECK (kind IN ('credit', 'invoice')),
    -- The invoice that a credit note takes back, or that an invoice takes the place of; empty where there is none.
    corrects TEXT NOT NULL,
    entry INTEGER NOT NULL UNIQUE REFERENCES entry (seq),
    UNIQUE (series, place)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX issue_credits ON issue (corrects) WHERE kind = 'credit';

CREATE TRIGGER issue_insert BEFORE INSERT ON issue
BEGIN
    SELECT RAISE(ABORT, 'an issued invoice is never changed')
        WHERE EXISTS (SELECT 1 FROM issue WHERE number = NEW.number)
            OR EXISTS (SELECT 1 FROM issue WHERE entry = NEW.entry)
            OR EXISTS (SELECT 1 FROM issue WHERE kind = 'credit' AND NEW.kind = 'credit' AND corrects = NEW.corrects);
    SELECT RAISE(ABORT, 'invoices are numbered without gaps')
        WHERE NEW.place IS NOT (SELECT coalesce(max(place), 0) + 1 FROM issue WHERE series = NEW.series);
    SELECT RAISE(ABORT, 'an invoice is in the books under its number and hash')
        WHERE NOT EXISTS (SELECT 1 FROM entry JOIN invoice ON invoice.number = entry.reference
            WHERE entry.seq = NEW.entry AND entry.kind = NEW.kind AND entry.reference = NEW.number
                AND entry.digest = invoice.sha256 AND invoice.state = 'final');
    SELECT RAISE(ABORT, 'a credit note takes back a final invoice')
        WHERE NEW.kind = 'credit' AND NOT EXISTS (SELECT 1 FROM issue JOIN invoice ON invoice.number = issue.number
            WHERE issue.number = NEW.corrects AND issue.kind = 'invoice' AND invoice.state = 'final');
    SELECT RAISE(ABORT, 'the customer has a final invoice of this period')
        WHERE NEW.kind = 'invoice' AND EXISTS (
            SELECT 1 FROM issue JOIN invoice AS other ON other.number = issue.number
                JOIN invoice AS own ON own.period = other.period AND own.customer = other.customer
            WHERE own.number = NEW.number AND issue.kind = 'invoice' AND other.state = 'final');
END;
CREATE TRIGGER issue_update BEFORE UPDATE ON issue
BEGIN SELECT RAISE(ABORT, 'an issued invoice is never changed'); END;
CREATE TRIGGER issue_delete BEFORE DELETE ON issue
BEGIN SELECT RAISE(ABORT, 'an issued invoice is never changed'); END;

-- When an invoice left the house; from then on it cannot be made void.
CREATE TABLE delivery (
    number TEXT NOT NULL PRIMARY KEY REFERENCES issue (number),
    at INTEGER NOT NULL,
    made_by TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER delivery_insert BEFORE INSERT ON delivery
WHEN EXISTS (SELECT 1 FROM delivery WHERE number = NEW.number)
BEGIN SELECT RAISE(ABORT, 'a delivery is never changed'); END;
CREATE TRIGGER delivery_update BEFORE UPDATE ON delivery
BEGIN SELECT RAISE(ABORT, 'a delivery is never changed'); END;
CREATE TRIGGER delivery_delete BEFORE DELETE ON delivery
BEGIN SELECT RAISE(ABORT, 'a delivery is never changed'); END;

-- A final invoice changes its state once, and only by what the books say; no other part of it changes.
DROP TRIGGER invoice_insert;
DROP TRIGGER invoice_update;
CREATE TRIGGER invoice_insert BEFORE INSERT ON invoice
BEGIN
    SELECT RAISE(ABORT, 'an invoice that is no draft is never changed')
        WHERE EXISTS (SELECT 1 FROM invoice WHERE number = NEW.number AND state <> 'draft');
    SELECT RAISE(ABORT, 'an invoice that is no draft is in the books')
        WHERE NEW.state <> 'draft' AND NOT EXISTS (SELECT 1 FROM entry WHERE reference = NEW.number
            AND digest = NEW.sha256 AND kind IN ('credit', 'invoice') AND NEW.state = 'final');
END;
CREATE TRIGGER invoice_update BEFORE UPDATE ON invoice
BEGIN
    SELECT RAISE(ABORT, 'an invoice that is no draft is never changed')
        WHERE NEW.number <> OLD.number AND EXISTS (SELECT 1 FROM invoice WHERE number = NEW.number);
    SELECT RAISE(ABORT, 'an invoice that is no draft is never changed')
        WHERE (OLD.state <> 'draft' OR NEW.state <> 'draft') AND NOT (
            OLD.state = 'final' AND NEW.number = OLD.number AND NEW.period = OLD.period
            AND NEW.customer = OLD.customer AND NEW.currency = OLD.currency AND NEW.gross_minor = OLD.gross_minor
            AND NEW.document = OLD.document AND NEW.sha256 = OLD.sha256
            AND (NEW.state = 'credited'
                    AND EXISTS (SELECT 1 FROM issue WHERE corrects = NEW.number AND kind = 'credit')
                OR NEW.state = 'void'
                    AND EXISTS (SELECT 1 FROM entry WHERE reference = NEW.number AND kind = 'void')
                    AND NOT EXISTS (SELECT 1 FROM delivery WHERE number = NEW.number)));
END;
