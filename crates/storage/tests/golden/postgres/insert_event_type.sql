INSERT INTO "event_types" ("id", "name", "description", "json_schema", "schema_mode", "schema_version",
    "example", "archived", "created_at", "updated_at", "visible_to")
VALUES ($1, $2, $3, $4, $5, $6, DEFAULT, $7, $8, $9, DEFAULT)

INSERT INTO "event_type_schemas" ("event_type_id", "version", "json_schema", "created_at")
VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING

INSERT INTO "audit_log" ("id", "at", "actor", "action", "resource", "details", "organization_id")
VALUES ($1, $2, $3, $4, $5, $6, $7)
