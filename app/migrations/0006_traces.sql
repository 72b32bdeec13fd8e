-- The trace that a message belongs to (W3C Trace Context, 3.2).
ALTER TABLE outbox ADD COLUMN traceparent VARCHAR(55) CHARACTER SET ascii COLLATE ascii_bin NULL;
