ALTER TABLE event_types DROP COLUMN schema_mode;
