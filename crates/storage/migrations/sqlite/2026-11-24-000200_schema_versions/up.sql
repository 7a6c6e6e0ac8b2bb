-- Every schema that an event type has had. The one in force is in the event type's own row too.
ALTER TABLE event_types ADD COLUMN schema_version INTEGER NOT NULL DEFAULT 0;
UPDATE event_types SET schema_version = 1 WHERE json_schema IS NOT NULL;
CREATE TABLE event_type_schemas (
    event_type_id BIGINT NOT NULL REFERENCES event_types (id),
    version INTEGER NOT NULL,
    json_schema TEXT, -- NULL where a version took the schema away
    created_at BIGINT NOT NULL,
    PRIMARY KEY (event_type_id, version)
);
INSERT INTO event_type_schemas (event_type_id, version, json_schema, created_at)
    SELECT id, 1, json_schema, updated_at FROM event_types WHERE json_schema IS NOT NULL;
