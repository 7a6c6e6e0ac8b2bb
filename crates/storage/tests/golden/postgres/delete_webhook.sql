SELECT "webhooks"."organization_id"
FROM "webhooks"
WHERE ("webhooks"."id" = $1)
LIMIT $2

UPDATE "webhooks"
SET "deleted_at" = $1, "active" = $2
WHERE ("webhooks"."id" = $3)

DELETE
FROM "webhook_successes"
WHERE ("webhook_successes"."webhook_id" = $1)

DELETE
FROM "webhook_health"
WHERE ("webhook_health"."webhook_id" = $1)

INSERT INTO "audit_log" ("id", "at", "actor", "action", "resource", "details", "organization_id")
VALUES ($1, $2, $3, $4, $5, $6, $7)

SELECT "operations"."id", "operations"."webhook_id", "operations"."kind"
FROM "operations"
WHERE (("operations"."organization_id" = $1)
  AND ("operations"."state" = $2))

SELECT delivery_id, node, due_at
FROM pending_deliveries
WHERE webhook_id = $1
  AND (node, due_at, delivery_id) > ($2, $3, $4)
ORDER BY node, due_at, delivery_id
LIMIT $5
