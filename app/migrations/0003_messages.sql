-- Messages that fail are tried again, and kept aside after the third time.
ALTER TABLE outbox ADD COLUMN attempts INT UNSIGNED NOT NULL DEFAULT 0;

CREATE TABLE dead_letters (
    id         BIGINT UNSIGNED NOT NULL PRIMARY KEY,
    kind       VARCHAR(40)     NOT NULL,
    event_id   BIGINT UNSIGNED NOT NULL,
    payload    TEXT            NOT NULL,
    error      VARCHAR(1000)   NOT NULL,
    created_at DATETIME(3)     NOT NULL DEFAULT CURRENT_TIMESTAMP(3)
) DEFAULT CHARSET = utf8mb4;
