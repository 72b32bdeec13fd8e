-- What a sale writes is looked up in fewer ways: each index is another page to change for each ticket.

-- The highest fencing number of the sales of a seat that were cancelled: a hold from before one of them is not confirmed.
CREATE TABLE seat_fences (
    event_id BIGINT UNSIGNED NOT NULL,
    seat_id  VARCHAR(16)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    fence    BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (event_id, seat_id)
) DEFAULT CHARSET = utf8mb4;

INSERT INTO seat_fences (event_id, seat_id, fence)
SELECT event_id, seat_id, MAX(fence) FROM tickets WHERE status = 'CANCELLED' AND seat_id IS NOT NULL GROUP BY event_id, seat_id;

-- Tickets lie beside each other by reservation, numbered from 0.
ALTER TABLE tickets ADD COLUMN number INT UNSIGNED NOT NULL DEFAULT 0 AFTER reservation_id;

UPDATE tickets t
JOIN (SELECT id, ROW_NUMBER() OVER (PARTITION BY reservation_id ORDER BY id) - 1 AS number FROM tickets) numbered ON numbered.id = t.id
SET t.number = numbered.number;

ALTER TABLE tickets DROP PRIMARY KEY, DROP COLUMN id, ADD PRIMARY KEY (reservation_id, number),
    DROP KEY tickets_reservation, DROP KEY tickets_seat_fence, ALTER COLUMN number DROP DEFAULT;

-- Offers are found by the waitlist.
ALTER TABLE reservations DROP KEY reservations_offers;
ALTER TABLE waitlist ADD KEY waitlist_status (status);

-- A message tells one user one thing: that names the notification.
ALTER TABLE notifications DROP PRIMARY KEY, DROP COLUMN id, ADD PRIMARY KEY (user_id, message_id),
    DROP KEY notifications_once, DROP KEY notifications_user;
