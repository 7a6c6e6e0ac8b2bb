UPDATE "organizations"
SET "deleted_at" = $1
WHERE ("organizations"."id" = $2)

SELECT "webhooks"."id"
FROM "webhooks"
WHERE (("webhooks"."organization_id" = $1)
  AND ("webhooks"."deleted_at" IS NULL))

UPDATE "webhooks"
SET "deleted_at" = $1, "active" = $2
WHERE ("webhooks"."id" = ANY($3))

DELETE
FROM "webhook_health"
WHERE ("webhook_health"."webhook_id" = ANY($1))

UPDATE "tokens"
SET "revoked_at" = $1
WHERE (("tokens"."organization_id" = $2)
  AND ("tokens"."revoked_at" IS NULL))

INSERT INTO "audit_log" ("id", "at", "actor", "action", "resource", "details", "organization_id")
VALUES ($1, $2, $3, $4, $5, $6, $7)

SELECT "operations"."id", "operations"."webhook_id", "operations"."kind"
FROM "operations"
WHERE (("operations"."organization_id" = $1)
  AND ("operations"."state" = $2))

UPDATE "operations"
SET "state" = $1, "error" = $2, "ended_at" = $3
WHERE ("operations"."id" = ANY($4))

SELECT w.id, p.waits IS NOT NULL AS waits
FROM (SELECT id
FROM webhooks
WHERE organization_id = $1
  AND id >= $2
ORDER BY id
LIMIT $3) AS w
LEFT JOIN LATERAL (SELECT true AS waits
FROM pending_deliveries
WHERE webhook_id = w.id
ORDER BY node
LIMIT 1) AS p ON true
ORDER BY w.id

SELECT delivery_id, node, due_at
FROM pending_deliveries
WHERE webhook_id = $1
  AND (node, due_at, delivery_id) > ($2, $3, $4)
ORDER BY node, due_at, delivery_id
LIMIT $5

INSERT INTO "operations" ("id", "organization_id", "organization", "kind", "webhook_id", "through", "actor",
    "state", "error", "at_webhook", "at_node", "at_due", "at_delivery", "found", "done", "total", "node",
    "leased_until", "created_at", "updated_at", "ended_at", "begun_at")
VALUES ($1, $2, $3, $4, DEFAULT, $5, $6, $7, DEFAULT, $8, $9, $10, $11, $12, $13, DEFAULT, $14, $15, $16,
    $17, DEFAULT, $18)
