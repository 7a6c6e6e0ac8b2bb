UPDATE "organizations"
SET "display_name" = $1, "updated_at" = $2
WHERE ("organizations"."id" = $3)

INSERT INTO "audit_log" ("id", "at", "actor", "action", "resource", "details", "organization_id")
VALUES ($1, $2, $3, $4, $5, $6, $7)
