-- What becomes of an event that does not fit its type's schema: reject, warn or off.
ALTER TABLE event_types ADD COLUMN schema_mode TEXT NOT NULL DEFAULT 'reject';
