-- What surrounds a sale: check-in, groups, waitlist, asynchronous requests, notifications.

ALTER TABLE tickets ADD COLUMN check_in_nonce VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL;

CREATE TABLE reservation_groups (
    id              BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    user_id         VARCHAR(64)     COLLATE utf8mb4_bin NOT NULL,
    idempotency_key VARCHAR(100)    CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    request_hash    BINARY(32)      NOT NULL,
    created_at      DATETIME(3)     NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
    UNIQUE KEY reservation_groups_idempotency (user_id, idempotency_key)
) DEFAULT CHARSET = utf8mb4;

CREATE TABLE waitlist (
    id             BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    event_id       BIGINT UNSIGNED NOT NULL,
    user_id        VARCHAR(64)     COLLATE utf8mb4_bin NOT NULL,
    quantity       INT UNSIGNED    NOT NULL,
    status         VARCHAR(10)     NOT NULL,
    reservation_id BIGINT UNSIGNED NULL,
    created_at     DATETIME(3)     NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
    -- A user waits once for an event.
    active_user    VARCHAR(64)     COLLATE utf8mb4_bin
                   AS (CASE WHEN status IN ('WAITING', 'OFFERED') THEN user_id END) STORED,
    UNIQUE KEY waitlist_active (event_id, active_user),
    KEY waitlist_next (event_id, status, id),
    KEY waitlist_user (user_id, id),
    KEY waitlist_reservation (reservation_id)
) DEFAULT CHARSET = utf8mb4;

CREATE TABLE reservation_requests (
    id             VARCHAR(32)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    user_id        VARCHAR(64)     COLLATE utf8mb4_bin NOT NULL,
    status         VARCHAR(10)     NOT NULL,
    body           TEXT            NOT NULL,
    reservation_id BIGINT UNSIGNED NULL,
    problem        TEXT            NULL,
    created_at     DATETIME(3)     NOT NULL DEFAULT CURRENT_TIMESTAMP(3)
) DEFAULT CHARSET = utf8mb4;

CREATE TABLE notifications (
    id         BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    -- A message that is delivered twice notifies once.
    message_id BIGINT UNSIGNED NOT NULL,
    user_id    VARCHAR(64)     COLLATE utf8mb4_bin NOT NULL,
    kind       VARCHAR(40)     NOT NULL,
    event_id   BIGINT UNSIGNED NOT NULL,
    text       VARCHAR(500)    NOT NULL,
    push       VARCHAR(8)      NOT NULL,
    created_at DATETIME(3)     NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
    read_at    DATETIME(3)     NULL,
    UNIQUE KEY notifications_once (message_id, user_id),
    KEY notifications_user (user_id, id)
) DEFAULT CHARSET = utf8mb4;

CREATE TABLE devices (
    token        VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    user_id      VARCHAR(64)  COLLATE utf8mb4_bin NOT NULL,
    endpoint_arn VARCHAR(255) NULL,
    created_at   DATETIME(3)  NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
    KEY devices_user (user_id)
) DEFAULT CHARSET = utf8mb4;
