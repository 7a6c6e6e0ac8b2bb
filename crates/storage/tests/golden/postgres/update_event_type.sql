UPDATE "event_types"
SET "name" = $1, "description" = $2, "json_schema" = $3, "schema_mode" = $4, "schema_version" = $5,
    "example" = $6, "archived" = $7, "created_at" = $8, "updated_at" = $9, "visible_to" = $10
WHERE ("event_types"."id" = $11)

INSERT INTO "event_type_schemas" ("event_type_id", "version", "json_schema", "created_at")
VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING

INSERT INTO "audit_log" ("id", "at", "actor", "action", "resource", "details", "organization_id")
VALUES ($1, $2, $3, $4, $5, $6, $7)
