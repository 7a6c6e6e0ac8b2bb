UPDATE "replays"
SET "state" = $1, "error" = $2, "ended_at" = $3
WHERE (("replays"."id" = $4)
  AND ("replays"."state" = $5))

INSERT INTO "audit_log" ("id", "at", "actor", "action", "resource", "details", "organization_id")
VALUES ($1, $2, $3, $4, $5, $6, $7)
