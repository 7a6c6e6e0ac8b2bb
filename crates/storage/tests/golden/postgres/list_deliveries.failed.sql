SELECT "attempts"."delivery_id", "attempts"."event_id", "attempts"."organization_id", "attempts"."webhook_id"
FROM "attempts"
WHERE ((attempts.delivery_state = 2
  AND ("attempts"."organization_id" = $1))
  AND ("attempts"."delivery_id" < $2))
ORDER BY "attempts"."delivery_id" DESC
LIMIT $3

SELECT "events"."id", "events"."organization_id", "events"."event_type", "events"."webhooks",
    "events"."replay_of", "events"."ordering_key"
FROM "events"
WHERE ("events"."id" = ANY($1))

SELECT "attempts"."delivery_id", "attempts"."number", "attempts"."started_at", "attempts"."duration_us",
    "attempts"."status", "attempts"."error_class", "attempts"."error_message", "attempts"."delivery_state"
FROM "attempts"
WHERE (("attempts"."delivery_id" BETWEEN $1 AND $2)
  AND ("attempts"."delivery_id" = ANY($3)))
ORDER BY "attempts"."delivery_id", "attempts"."number"

SELECT "pending_deliveries"."delivery_id", "pending_deliveries"."event_id",
    "pending_deliveries"."organization_id", "pending_deliveries"."webhook_id", "pending_deliveries"."due_at",
    "pending_deliveries"."attempts", "pending_deliveries"."ordering_key"
FROM "pending_deliveries"
WHERE ("pending_deliveries"."delivery_id" = ANY($1))

SELECT "delivery_endings"."delivery_id", "delivery_endings"."event_id", "delivery_endings"."organization_id",
    "delivery_endings"."webhook_id", "delivery_endings"."state", "delivery_endings"."reason",
    "delivery_endings"."ended_at"
FROM "delivery_endings"
WHERE (("delivery_endings"."delivery_id" BETWEEN $1 AND $2)
  AND ("delivery_endings"."delivery_id" = ANY($3)))

SELECT "event_replays"."replay_id"
FROM "event_replays"
WHERE ("event_replays"."event_id" = ANY($1))
ORDER BY "event_replays"."replay_id" DESC
LIMIT $2
