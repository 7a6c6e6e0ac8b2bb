-- The only organizations that see the event type, a JSON array of their ids; NULL for all.
ALTER TABLE event_types ADD COLUMN visible_to TEXT;
