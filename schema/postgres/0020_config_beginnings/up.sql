-- Under the same name as SQLite's, where the beginnings of versions stand behind their texts.
CREATE INDEX IF NOT EXISTS config_version_beginning ON config_version (valid_from);
