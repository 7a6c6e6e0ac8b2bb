DROP TABLE event_type_schemas;
ALTER TABLE event_types DROP COLUMN schema_version;
