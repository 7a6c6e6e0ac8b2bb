SELECT COUNT(*)
FROM "replays"
WHERE (("replays"."organization_id" = $1)
  AND ("replays"."state" = $2))

INSERT INTO "replays" ("id", "organization_id", "request_id", "spec", "state", "error", "first_id",
    "last_id", "cursor", "examined", "matched", "replayed", "skipped", "node", "leased_until", "created_at",
    "ended_at")
VALUES ($1, $2, DEFAULT, $3, $4, DEFAULT, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, DEFAULT)

INSERT INTO "audit_log" ("id", "at", "actor", "action", "resource", "details", "organization_id")
VALUES ($1, $2, $3, $4, $5, $6, $7)
