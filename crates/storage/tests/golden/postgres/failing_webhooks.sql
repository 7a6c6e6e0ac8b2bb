SELECT "webhook_health"."webhook_id", "webhook_health"."failing_since", "webhook_health"."failures"
FROM "webhook_health"
WHERE ("webhook_health"."webhook_id" = ANY($1))
