SELECT "webhooks"."id"
FROM "webhooks"
WHERE (((("webhooks"."id" = $1)
  AND ("webhooks"."version" = $2))
  AND ("webhooks"."deleted_at" IS NULL))
  AND ("webhooks"."active" = $3))
LIMIT $4

DELETE
FROM "webhook_health"
WHERE ("webhook_health"."webhook_id" = $1)

UPDATE "webhooks"
SET "organization_id" = $1, "payload_url" = $2, "pull" = $3, "events" = $4, "filter" = $5, "active" = $6,
    "disabled_reason" = $7, "disabled_at" = $8, "description" = $9, "headers" = $10, "timeout_ms" = $11,
    "retry_delays_ms" = $12, "rate_limit" = $13, "ordered" = $14, "pauses" = $15,
    "insecure_skip_verify" = $16, "ed25519" = $17, "version" = $18, "created_at" = $19, "updated_at" = $20,
    "deleted_at" = $21
WHERE ((("webhooks"."id" = $22)
  AND ("webhooks"."version" = $23))
  AND ("webhooks"."deleted_at" IS NULL))

INSERT INTO "audit_log" ("id", "at", "actor", "action", "resource", "details", "organization_id")
VALUES ($1, $2, $3, $4, $5, $6, $7)

SELECT pg_advisory_xact_lock(l # (CASE current_schema() WHEN 'public' THEN 0 ELSE hashtextextended(current_schema()::text,
    0) END))
FROM unnest($1) AS l

SELECT "pending_deliveries"."delivery_id"
FROM "pending_deliveries"
WHERE (("pending_deliveries"."webhook_id" = $1)
  AND ("pending_deliveries"."ordering_key" IS NOT NULL))
LIMIT $2
