-- When everything that a cancelled event owed was given back.
ALTER TABLE events ADD COLUMN settled_at DATETIME(3) NULL, ADD KEY events_unsettled (cancelled, settled_at);
