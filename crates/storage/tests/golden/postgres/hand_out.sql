SELECT "pending_deliveries"."node"
FROM "pending_deliveries"
WHERE (("pending_deliveries"."webhook_id" = $1)
  AND ("pending_deliveries"."node" > $2))
ORDER BY "pending_deliveries"."node"
LIMIT $3

SELECT "pending_deliveries"."delivery_id", "pending_deliveries"."event_id",
    "pending_deliveries"."organization_id", "pending_deliveries"."webhook_id", "pending_deliveries"."due_at",
    "pending_deliveries"."attempts", "pending_deliveries"."ordering_key", "pending_deliveries"."leased_at"
FROM "pending_deliveries"
WHERE ((((("pending_deliveries"."webhook_id" = $1)
  AND ("pending_deliveries"."node" = $2))
  AND ("pending_deliveries"."due_at" >= $3))
  AND ("pending_deliveries"."due_at" <= $4))
  AND ("pending_deliveries"."delivery_id" > $5))
ORDER BY "pending_deliveries"."due_at", "pending_deliveries"."delivery_id"
LIMIT $6 FOR UPDATE SKIP LOCKED

SELECT "events"."id", CAST(length(payload) AS BIGINT)
FROM "events"
WHERE ("events"."id" = ANY($1))

SELECT "events"."id", "events"."organization_id", "events"."event_type", "events"."payload",
    "events"."webhooks", "events"."occurred_at", "events"."attributes", "events"."trace",
    "events"."tracestate", "events"."request_id", "events"."ordering_key", "events"."replay_of"
FROM "events"
WHERE ("events"."id" = ANY($1))

INSERT INTO attempts (delivery_id, number, event_id, organization_id, webhook_id, started_at, duration_us,
    status, error_class, error_message, delivery_state, details, response_body) SELECT *
FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
ON CONFLICT DO NOTHING

UPDATE "pending_deliveries"
SET "due_at" = $1, "attempts" = ("pending_deliveries"."attempts" + $2), "leased_at" = $3
WHERE ("pending_deliveries"."delivery_id" = ANY($4))
