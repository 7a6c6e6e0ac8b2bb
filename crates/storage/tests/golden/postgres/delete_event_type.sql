DELETE
FROM "event_type_schemas"
WHERE ("event_type_schemas"."event_type_id" = $1)

DELETE
FROM "event_types"
WHERE ("event_types"."id" = $1)

INSERT INTO "audit_log" ("id", "at", "actor", "action", "resource", "details", "organization_id")
VALUES ($1, $2, $3, $4, $5, $6, $7)
