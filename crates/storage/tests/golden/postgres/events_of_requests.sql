SELECT "idempotency_keys"."request_id", "idempotency_keys"."event_id"
FROM "idempotency_keys"
WHERE (("idempotency_keys"."organization_id" = $1)
  AND ("idempotency_keys"."request_id" = ANY($2)))

SELECT "events"."id", "events"."organization_id", "events"."event_type", "events"."webhooks",
    "events"."replay_of", "events"."ordering_key"
FROM "events"
WHERE ("events"."id" = ANY($1))
