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

UPDATE "operations"
SET "state" = $1, "error" = $2, "ended_at" = $3
WHERE ("operations"."id" = ANY($4))

SELECT delivery_id, node, due_at
FROM pending_deliveries
WHERE webhook_id = $1
  AND (node, due_at, delivery_id) > ($2, $3, $4)
ORDER BY node, due_at, delivery_id
LIMIT $5

INSERT INTO "operations" ("id", "organization_id", "organization", "kind", "webhook_id", "through", "actor",
    "state", "error", "at_webhook", "at_node", "at_due", "at_delivery", "found", "done", "total", "node",
    "leased_until", "created_at", "updated_at", "ended_at", "begun_at")
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, DEFAULT, $9, $10, $11, $12, $13, $14, DEFAULT, $15, $16, $17, $18,
    DEFAULT, $19)
