INSERT INTO "organizations" ("id", "name", "display_name", "created_at", "updated_at", "deleted_at")
VALUES ($1, $2, $3, $4, $5, DEFAULT)

INSERT INTO "audit_log" ("id", "at", "actor", "action", "resource", "details", "organization_id")
VALUES ($1, $2, $3, $4, $5, $6, $7)
