UPDATE "operations"
SET "state" = $1, "ended_at" = $2, "updated_at" = $3
WHERE (("operations"."id" = $4)
  AND ("operations"."state" = $5))

INSERT INTO "audit_log" ("id", "at", "actor", "action", "resource", "details", "organization_id")
VALUES ($1, $2, $3, $4, $5, $6, $7)
