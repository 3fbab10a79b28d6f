-- A usage row names what it has in common with a million others by a number: link, direction, class, family, exporter and
-- rate are in a table of their own. Half the columns and half the size, so a flush takes half the time. `usage` reads as
-- before.

CREATE TABLE usage_series (
    id INTEGER NOT NULL PRIMARY KEY,
    link INTEGER NOT NULL,
    direction INTEGER NOT NULL,
    class INTEGER NOT NULL,
    family INTEGER NOT NULL,
    exporter INTEGER NOT NULL,
    rate_numerator INTEGER NOT NULL,
    rate_denominator INTEGER NOT NULL,
    rate_source INTEGER NOT NULL,
    UNIQUE (link, direction, class, family, exporter, rate_numerator, rate_denominator, rate_source)
) STRICT;

-- Raw sums. The order of the primary key is the order in which flushes write.
CREATE TABLE usage_row (
    bucket INTEGER NOT NULL,
    customer INTEGER NOT NULL,
    -- A number of usage_series. No foreign key: it would be looked up for each row of each flush, and a series is never
    -- removed.
    series INTEGER NOT NULL,
    octets INTEGER NOT NULL,
    packets INTEGER NOT NULL,
    flows INTEGER NOT NULL,
    squares_low INTEGER NOT NULL,
    squares_high INTEGER NOT NULL,
    PRIMARY KEY (bucket, customer, series)
) STRICT, WITHOUT ROWID;

INSERT INTO usage_series (link, direction, class, family, exporter, rate_numerator, rate_denominator, rate_source)
SELECT DISTINCT link, direction, class, family, exporter, rate_numerator, rate_denominator, rate_source FROM usage
ORDER BY 1, 2, 3, 4, 5, 6, 7, 8;

INSERT INTO usage_row
SELECT bucket, customer, usage_series.id, octets, packets, flows, squares_low, squares_high
FROM usage JOIN usage_series
    USING (link, direction, class, family, exporter, rate_numerator, rate_denominator, rate_source)
ORDER BY bucket, customer, usage_series.id;

DROP TABLE usage;

-- A left join: a row whose series is missing reads as damage, not as nothing.
CREATE VIEW usage AS
SELECT bucket, customer, link, direction, class, family, exporter, rate_numerator, rate_denominator, rate_source,
    octets, packets, flows, squares_low, squares_high
FROM usage_row LEFT JOIN usage_series ON usage_series.id = usage_row.series;

CREATE TRIGGER usage_series_insert BEFORE INSERT ON usage_series
WHEN EXISTS (SELECT 1 FROM usage_series WHERE id = NEW.id)
    OR EXISTS (
        SELECT 1 FROM usage_series
        WHERE (link, direction, class, family, exporter, rate_numerator, rate_denominator, rate_source)
            = (NEW.link, NEW.direction, NEW.class, NEW.family, NEW.exporter, NEW.rate_numerator, NEW.rate_denominator,
               NEW.rate_source)
    )
BEGIN SELECT RAISE(ABORT, 'a series and its number are never changed'); END;
CREATE TRIGGER usage_series_update BEFORE UPDATE ON usage_series
BEGIN SELECT RAISE(ABORT, 'a series and its number are never changed'); END;
CREATE TRIGGER usage_series_delete BEFORE DELETE ON usage_series
BEGIN SELECT RAISE(ABORT, 'a series and its number are never changed'); END;
