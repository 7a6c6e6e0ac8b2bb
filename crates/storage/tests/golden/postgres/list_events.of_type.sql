SELECT "events"."id", "events"."event_type", "events"."webhooks", "events"."occurred_at",
    "events"."attributes", "events"."request_id", "events"."ordering_key", "events"."replay_of",
    CAST(length(payload) AS BIGINT)
FROM "events"
WHERE (("events"."organization_id" = $1)
  AND ("events"."id" < $2))
ORDER BY "events"."id" DESC
LIMIT $3
