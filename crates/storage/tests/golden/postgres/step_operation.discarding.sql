UPDATE "operations"
SET "leased_until" = $1, "updated_at" = $2
WHERE ((("operations"."id" = $3)
  AND ("operations"."state" = $4))
  AND ("operations"."node" = $5))
RETURNING "operations"."id", "operations"."organization_id", "operations"."organization",
    "operations"."kind", "operations"."webhook_id", "operations"."through", "operations"."actor",
    "operations"."state", "operations"."error", "operations"."at_webhook", "operations"."at_node",
    "operations"."at_due", "operations"."at_delivery", "operations"."found", "operations"."done",
    "operations"."total", "operations"."node", "operations"."leased_until", "operations"."created_at",
    "operations"."updated_at", "operations"."ended_at", "operations"."begun_at"

SELECT pg_advisory_xact_lock(l # (CASE current_schema() WHEN 'public' THEN 0 ELSE hashtextextended(current_schema()::text,
    0) END))
FROM unnest($1) AS l

SELECT delivery_id, node, due_at
FROM pending_deliveries
WHERE webhook_id = $1
  AND (node, due_at, delivery_id) > ($2, $3, $4)
ORDER BY node, due_at, delivery_id
LIMIT $5

SELECT "pending_deliveries"."delivery_id", "pending_deliveries"."event_id",
    "pending_deliveries"."organization_id", "pending_deliveries"."webhook_id", "pending_deliveries"."due_at",
    "pending_deliveries"."attempts", "pending_deliveries"."ordering_key"
FROM "pending_deliveries"
WHERE ("pending_deliveries"."delivery_id" = ANY($1))
ORDER BY "pending_deliveries"."delivery_id" FOR UPDATE SKIP LOCKED

INSERT INTO delivery_endings (delivery_id, event_id, organization_id, webhook_id, state, reason,
    ended_at) SELECT *
FROM unnest($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT DO NOTHING

DELETE
FROM "pending_deliveries"
WHERE ("pending_deliveries"."delivery_id" = ANY($1))

SELECT pg_advisory_xact_lock($1 # (CASE current_schema() WHEN 'public' THEN 0 ELSE hashtextextended(current_schema()::text,
    0) END))

SELECT max("delivery_changes"."position")
FROM "delivery_changes"
WHERE ("delivery_changes"."stream" = $1)
LIMIT $2

INSERT INTO "delivery_changes" ("stream", "position", "deliveries")
VALUES ($1, $2, $3)

UPDATE pending_deliveries d
SET due_at = $4
FROM unnest($3) AS k (key) CROSS JOIN LATERAL ( SELECT delivery_id
FROM pending_deliveries
WHERE webhook_id = $1
  AND ordering_key = k.key
ORDER BY position
LIMIT 1) AS f
WHERE d.delivery_id = f.delivery_id
  AND d.delivery_id > $2
  AND d.due_at = $5

UPDATE "operations"
SET "at_webhook" = $1, "at_node" = $2, "at_due" = $3, "at_delivery" = $4, "found" = $5, "done" = $6
WHERE ("operations"."id" = $7)
