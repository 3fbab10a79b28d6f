-- What the daemon has done by itself, so that it is done once, whenever it is stopped: whose periods it has made drafts
-- of or made final, and which alerts it has raised. Nothing here is of the books.

CREATE TABLE billing_done (
    customer TEXT COLLATE "C" NOT NULL,
    period TEXT COLLATE "C" NOT NULL,
    stage TEXT NOT NULL CHECK (stage IN ('draft', 'final')),
    at BIGINT NOT NULL,
    PRIMARY KEY (customer, period)
);

CREATE TABLE alert (
    customer TEXT COLLATE "C" NOT NULL,
    period TEXT COLLATE "C" NOT NULL,
    -- The part of the period, from 0.
    part BIGINT NOT NULL,
    -- The tariff's charge that has the allowance.
    charge TEXT COLLATE "C" NOT NULL,
    -- Percent of the allowance, as the tariff has it.
    level TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    -- What it says, as JSON.
    message TEXT NOT NULL,
    -- When the command was done with it; nothing where it is still to be told.
    told BIGINT,
    PRIMARY KEY (customer, period, part, charge, level)
);
