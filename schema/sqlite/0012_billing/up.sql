-- What the daemon has done by itself, so that it is done once, whenever it is stopped: whose periods it has made drafts
-- of or made final, and which alerts it has raised. Nothing here is of the books.

CREATE TABLE billing_done (
    customer TEXT NOT NULL,
    period TEXT NOT NULL,
    stage TEXT NOT NULL CHECK (stage IN ('draft', 'final')),
    at INTEGER NOT NULL,
    PRIMARY KEY (customer, period)
) STRICT, WITHOUT ROWID;

CREATE TABLE alert (
    customer TEXT NOT NULL,
    period TEXT NOT NULL,
    -- The part of the period, from 0.
    part INTEGER NOT NULL,
    -- The tariff's charge that has the allowance.
    charge TEXT NOT NULL,
    -- Percent of the allowance, as the tariff has it.
    level TEXT NOT NULL,
    at INTEGER NOT NULL,
    -- What it says, as JSON.
    message TEXT NOT NULL,
    -- When the command was done with it; nothing where it is still to be told.
    told INTEGER,
    PRIMARY KEY (customer, period, part, charge, level)
) STRICT, WITHOUT ROWID;
