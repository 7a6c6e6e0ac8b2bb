ALTER TABLE event_types DROP COLUMN visible_to;
