-- Everything that decides a sale. MySQL 8.0 (Aurora) and MariaDB 10.6 or later.
-- Times are UTC. Money is in the currency's smallest unit.

CREATE TABLE users (
    id            VARCHAR(64)  COLLATE utf8mb4_bin NOT NULL PRIMARY KEY,
    email         VARCHAR(254) NOT NULL,
    name          VARCHAR(100) NOT NULL,
    password_hash VARCHAR(255) NOT NULL,
    role          VARCHAR(8)   NOT NULL,
    created_at    DATETIME(3)  NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
    UNIQUE KEY users_email (email)
) DEFAULT CHARSET = utf8mb4;

CREATE TABLE events (
    id               BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    name             VARCHAR(200)    NOT NULL,
    venue            VARCHAR(200)    NOT NULL,
    description      VARCHAR(2000)   NOT NULL,
    event_date       DATETIME(3)     NOT NULL,
    sale_opens_at    DATETIME(3)     NULL,
    seated           BOOLEAN         NOT NULL,
    total_seats      INT UNSIGNED    NOT NULL,
    available_seats  INT UNSIGNED    NOT NULL,
    price            BIGINT UNSIGNED NOT NULL,
    max_per_order    INT UNSIGNED    NOT NULL,
    max_per_user     INT UNSIGNED    NULL,
    cancelled        BOOLEAN         NOT NULL DEFAULT FALSE,
    queue_enabled    BOOLEAN         NOT NULL DEFAULT FALSE,
    queue_per_second DOUBLE          NOT NULL DEFAULT 10,
    queue_max_inside INT UNSIGNED    NOT NULL DEFAULT 200,
    created_at       DATETIME(3)     NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
    -- The last line against overselling, should every other one have failed.
    CONSTRAINT events_stock CHECK (available_seats <= total_seats),
    KEY events_date (event_date)
) DEFAULT CHARSET = utf8mb4;

CREATE TABLE price_tiers (
    event_id BIGINT UNSIGNED NOT NULL,
    grade    VARCHAR(20)     COLLATE utf8mb4_bin NOT NULL,
    price    BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (event_id, grade)
) DEFAULT CHARSET = utf8mb4;

CREATE TABLE seats (
    event_id   BIGINT UNSIGNED NOT NULL,
    id         VARCHAR(16)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    row_label  VARCHAR(8)      NOT NULL,
    col_number INT UNSIGNED    NOT NULL,
    grade      VARCHAR(20)     COLLATE utf8mb4_bin NOT NULL,
    PRIMARY KEY (event_id, id)
) DEFAULT CHARSET = utf8mb4;

CREATE TABLE reservations (
    id               BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    event_id         BIGINT UNSIGNED NOT NULL,
    user_id          VARCHAR(64)     COLLATE utf8mb4_bin NOT NULL,
    quantity         INT UNSIGNED    NOT NULL,
    status           VARCHAR(10)     NOT NULL,
    amount           BIGINT UNSIGNED NOT NULL,
    payment_method   VARCHAR(16)     NOT NULL,
    group_id         BIGINT UNSIGNED NULL,
    -- Given by the client, or made here: what makes a retry after a lost answer safe.
    idempotency_key  VARCHAR(100)    CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    request_hash     BINARY(32)      NOT NULL,
    code4            VARCHAR(4)      CHARACTER SET ascii COLLATE ascii_bin NULL,
    offer_expires_at DATETIME(3)     NULL,
    created_at       DATETIME(3)     NOT NULL,
    closed_at        DATETIME(3)     NULL,
    close_reason     VARCHAR(200)    NULL,
    active_code4     VARCHAR(4)      CHARACTER SET ascii COLLATE ascii_bin
                     AS (CASE WHEN status = 'CONFIRMED' THEN code4 END) STORED,
    UNIQUE KEY reservations_idempotency (user_id, idempotency_key),
    UNIQUE KEY reservations_code4 (event_id, active_code4),
    KEY reservations_event_user (event_id, user_id),
    KEY reservations_group (group_id),
    KEY reservations_offers (status, offer_expires_at)
) DEFAULT CHARSET = utf8mb4;

CREATE TABLE tickets (
    id             BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    reservation_id BIGINT UNSIGNED NOT NULL,
    event_id       BIGINT UNSIGNED NOT NULL,
    seat_id        VARCHAR(16)     CHARACTER SET ascii COLLATE ascii_bin NULL,
    code           CHAR(16)        CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    fence          BIGINT UNSIGNED NOT NULL,
    status         VARCHAR(10)     NOT NULL,
    used_at        DATETIME(3)     NULL,
    -- NULL when cancelled: a unique key over it allows one live ticket per seat and any number of dead ones.
    active_seat    VARCHAR(16)     CHARACTER SET ascii COLLATE ascii_bin
                   AS (CASE WHEN status <> 'CANCELLED' THEN seat_id END) STORED,
    UNIQUE KEY tickets_active_seat (event_id, active_seat),
    UNIQUE KEY tickets_code (code),
    KEY tickets_reservation (reservation_id),
    KEY tickets_seat_fence (event_id, seat_id, fence)
) DEFAULT CHARSET = utf8mb4;

CREATE TABLE wallets (
    user_id VARCHAR(64)     COLLATE utf8mb4_bin NOT NULL PRIMARY KEY,
    balance BIGINT UNSIGNED NOT NULL
) DEFAULT CHARSET = utf8mb4;

-- The ledger: a wallet's balance is the sum of its entries.
CREATE TABLE wallet_entries (
    id              BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    user_id         VARCHAR(64)     COLLATE utf8mb4_bin NOT NULL,
    kind            VARCHAR(8)      NOT NULL,
    amount          BIGINT          NOT NULL,
    balance_after   BIGINT UNSIGNED NOT NULL,
    reservation_id  BIGINT UNSIGNED NULL,
    idempotency_key VARCHAR(100)    CHARACTER SET ascii COLLATE ascii_bin NULL,
    created_at      DATETIME(3)     NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
    -- Nothing is paid or refunded twice.
    UNIQUE KEY wallet_entries_once (reservation_id, kind),
    UNIQUE KEY wallet_entries_idempotency (user_id, idempotency_key)
) DEFAULT CHARSET = utf8mb4;

-- Written in the transaction of what it tells about; a worker publishes and deletes it.
CREATE TABLE outbox (
    id         BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    kind       VARCHAR(40)     NOT NULL,
    event_id   BIGINT UNSIGNED NOT NULL,
    payload    TEXT            NOT NULL,
    created_at DATETIME(3)     NOT NULL DEFAULT CURRENT_TIMESTAMP(3)
) DEFAULT CHARSET = utf8mb4;
