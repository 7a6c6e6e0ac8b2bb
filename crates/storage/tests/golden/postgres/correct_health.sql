UPDATE "webhook_health"
SET "failing_since" = $1
WHERE ("webhook_health"."failing_since" > $2)

UPDATE "webhook_successes"
SET "at" = $1
WHERE ("webhook_successes"."at" > $2)
