SELECT "webhook_health"."failing_since", "webhook_health"."failures"
FROM "webhook_health"
WHERE ("webhook_health"."webhook_id" = $1)
LIMIT $2 FOR UPDATE

SELECT "webhook_successes"."at"
FROM "webhook_successes"
WHERE ("webhook_successes"."webhook_id" = $1)
LIMIT $2
