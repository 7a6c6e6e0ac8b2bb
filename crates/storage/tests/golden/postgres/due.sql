SELECT "pending_deliveries"."delivery_id", "pending_deliveries"."event_id",
    "pending_deliveries"."organization_id", "pending_deliveries"."webhook_id", "pending_deliveries"."due_at",
    "pending_deliveries"."attempts", "pending_deliveries"."ordering_key"
FROM "pending_deliveries"
WHERE ((((("pending_deliveries"."webhook_id" = $1)
  AND ("pending_deliveries"."node" = $2))
  AND ("pending_deliveries"."due_at" >= $3))
  AND ("pending_deliveries"."due_at" <= $4))
  AND ("pending_deliveries"."delivery_id" > $5))
ORDER BY "pending_deliveries"."due_at", "pending_deliveries"."delivery_id"
LIMIT $6

SELECT "events"."id", CAST(length(payload) AS BIGINT)
FROM "events"
WHERE ("events"."id" = ANY($1))

SELECT "events"."id", "events"."organization_id", "events"."event_type", "events"."payload",
    "events"."webhooks", "events"."occurred_at", "events"."attributes", "events"."trace",
    "events"."tracestate", "events"."request_id", "events"."ordering_key", "events"."replay_of"
FROM "events"
WHERE ("events"."id" = ANY($1))

SELECT "pending_deliveries"."due_at", "pending_deliveries"."attempts"
FROM "pending_deliveries"
WHERE ((((("pending_deliveries"."webhook_id" = $1)
  AND ("pending_deliveries"."node" = $2))
  AND ("pending_deliveries"."due_at" > $3))
  AND ("pending_deliveries"."due_at" < $4))
  AND ("pending_deliveries"."delivery_id" > $5))
ORDER BY "pending_deliveries"."due_at", "pending_deliveries"."delivery_id"
LIMIT $6
