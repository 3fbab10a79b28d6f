-- When configuration versions begin is asked for often. It stands behind their texts, which may be of tens of megabytes, and
-- whoever reads it there reads them all; in this index it is without them.
CREATE INDEX IF NOT EXISTS config_version_beginning ON config_version (valid_from, number, sha256);
