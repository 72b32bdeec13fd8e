-- What one transaction tells of one event is one row: what comes after a hundred sales reads and deletes one row, not a hundred.
CREATE TABLE outbox_batches (
    id          BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    -- The identifier of the first message, where it had one before. The others number theirs by the row's.
    first_id    BIGINT UNSIGNED NULL,
    kind        VARCHAR(40)     NOT NULL,
    event_id    BIGINT UNSIGNED NOT NULL,
    -- A JSON array: one message for each payload
    payloads    MEDIUMTEXT      NOT NULL,
    attempts    INT UNSIGNED    NOT NULL DEFAULT 0,
    traceparent VARCHAR(55)     CHARACTER SET ascii COLLATE ascii_bin NULL,
    created_at  DATETIME(3)     NOT NULL DEFAULT CURRENT_TIMESTAMP(3)
) DEFAULT CHARSET = utf8mb4
-- Beyond all identifiers that messages have had: notifications are known by them.
AUTO_INCREMENT = 1000000000;

-- A user's reservations are found by reservations_idempotency, also those of a group, and an event's by reservations_code4.
ALTER TABLE reservations DROP KEY reservations_event_user, DROP KEY reservations_group;
