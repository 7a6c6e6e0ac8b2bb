SELECT "webhooks"."organization_id", "webhooks"."deleted_at"
FROM "webhooks"
WHERE ("webhooks"."id" = $1)
LIMIT $2

SELECT "operations"."webhook_id"
FROM "operations"
WHERE (("operations"."organization_id" = $1)
  AND ("operations"."state" = $2))

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
ORDER BY "pending_deliveries"."delivery_id" FOR UPDATE

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
