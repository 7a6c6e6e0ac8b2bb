SELECT "events"."id", "events"."organization_id", "events"."event_type", "events"."payload",
    "events"."webhooks", "events"."occurred_at", "events"."attributes", "events"."trace",
    "events"."tracestate", "events"."request_id", "events"."ordering_key", "events"."replay_of"
FROM "events"
WHERE ((("events"."id" = $1)
  AND ("events"."organization_id" = $2))
  AND ("events"."replay_of" IS NULL))
LIMIT $3
