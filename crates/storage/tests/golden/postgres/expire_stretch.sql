SELECT "events"."id"
FROM "events"
WHERE (("events"."id" > $1)
  AND ("events"."id" < $2))
ORDER BY "events"."id"
LIMIT $3

SELECT DISTINCT "pending_deliveries"."event_id"
FROM "pending_deliveries"
WHERE ("pending_deliveries"."delivery_id" BETWEEN $1 AND $2)
ORDER BY "pending_deliveries"."event_id"

SELECT "events"."id", "events"."organization_id", "events"."webhooks", "events"."request_id"
FROM "events"
WHERE ("events"."id" = ANY($1))
ORDER BY "events"."id"

DELETE
FROM "idempotency_keys"
WHERE ((("idempotency_keys"."organization_id" = $1)
  AND ("idempotency_keys"."request_id" = ANY($2)))
  AND ("idempotency_keys"."event_id" = ANY($3)))

DELETE
FROM "attempts"
WHERE (("attempts"."delivery_id" BETWEEN $1 AND $2)
  AND ("attempts"."event_id" != ALL($3)))

DELETE
FROM "delivery_endings"
WHERE (("delivery_endings"."delivery_id" BETWEEN $1 AND $2)
  AND ("delivery_endings"."event_id" != ALL($3)))

DELETE
FROM "event_replays"
WHERE (("event_replays"."replay_id" BETWEEN $1 AND $2)
  AND ("event_replays"."replay_id" != ALL($3)))

DELETE
FROM "events"
WHERE (("events"."id" BETWEEN $1 AND $2)
  AND ("events"."id" != ALL($3)))
