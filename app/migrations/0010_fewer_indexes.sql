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

-- Tickets lie beside each other by reservation. Those that are there keep the number that was theirs alone.
ALTER TABLE tickets DROP PRIMARY KEY, CHANGE COLUMN id number BIGINT UNSIGNED NOT NULL AFTER reservation_id,
    ADD PRIMARY KEY (reservation_id, number), DROP KEY tickets_reservation, DROP KEY tickets_seat_fence;

-- Offers are found by the waitlist.
ALTER TABLE reservations DROP KEY reservations_offers;
ALTER TABLE waitlist ADD KEY waitlist_status (status);

-- A message tells one user one thing: that names the notification.
ALTER TABLE notifications DROP PRIMARY KEY, DROP COLUMN id, ADD PRIMARY KEY (user_id, message_id),
    DROP KEY notifications_once, DROP KEY notifications_user;
