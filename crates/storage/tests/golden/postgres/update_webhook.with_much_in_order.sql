SELECT "webhooks"."id"
FROM "webhooks"
WHERE (((("webhooks"."id" = $1)
  AND ("webhooks"."version" = $2))
  AND ("webhooks"."deleted_at" IS NULL))
  AND ("webhooks"."active" = $3))
LIMIT $4

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

SELECT "operations"."id", "operations"."webhook_id", "operations"."kind"
FROM "operations"
WHERE (("operations"."organization_id" = $1)
  AND ("operations"."state" = $2))

INSERT INTO "operations" ("id", "organization_id", "organization", "kind", "webhook_id", "through", "actor",
    "state", "error", "at_webhook", "at_node", "at_due", "at_delivery", "found", "done", "total", "node",
    "leased_until", "created_at", "updated_at", "ended_at", "begun_at")
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, DEFAULT, $9, $10, $11, $12, $13, $14, DEFAULT, $15, $16, $17, $18,
    DEFAULT, $19)
