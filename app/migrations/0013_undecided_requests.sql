-- Who has not been answered for long is asked about again: the message may have gone with the worker that took it.
ALTER TABLE reservation_requests ADD COLUMN asked_at DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
    ADD KEY reservation_requests_undecided (status, asked_at);

-- What is put aside is as long as it was in the outbox.
ALTER TABLE dead_letters MODIFY payload MEDIUMTEXT NOT NULL;
