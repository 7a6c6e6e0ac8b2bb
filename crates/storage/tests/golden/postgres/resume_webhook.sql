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

UPDATE "operations"
SET "state" = $1, "error" = $2, "ended_at" = $3
WHERE ("operations"."id" = ANY($4))

UPDATE "pending_deliveries"
SET "due_at" = $1
WHERE (("pending_deliveries"."delivery_id" = ANY($2))
  AND ("pending_deliveries"."due_at" >= $3))

UPDATE "pending_deliveries"
SET "ordering_key" = $1, "position" = $2
WHERE ("pending_deliveries"."delivery_id" = ANY($3))

SELECT delivery_id, node, due_at
FROM pending_deliveries
WHERE webhook_id = $1
  AND (node, due_at, delivery_id) > ($2, $3, $4)
ORDER BY node, due_at, delivery_id
LIMIT $5

SELECT "pending_deliveries"."delivery_id", "pending_deliveries"."event_id",
    "pending_deliveries"."organization_id", "pending_deliveries"."webhook_id", "pending_deliveries"."due_at",
    "pending_deliveries"."attempts", "pending_deliveries"."ordering_key"
FROM "pending_deliveries"
WHERE ("pending_deliveries"."delivery_id" = ANY($1))
ORDER BY "pending_deliveries"."delivery_id" FOR UPDATE

INSERT INTO delivery_endings (delivery_id, event_id, organization_id, webhook_id, state, reason,
    ended_at) SELECT *
FROM unnest($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT DO NOTHING

DELETE
FROM "pending_deliveries"
WHERE ("pending_deliveries"."delivery_id" = ANY($1))

SELECT pg_advisory_xact_lock($1 # (CASE current_schema() WHEN 'public' THEN 0 ELSE hashtextextended(current_schema()::text,
    0) END))

SELECT max("delivery_changes"."position")
FROM "delivery_changes"
WHERE ("delivery_changes"."stream" = $1)
LIMIT $2

INSERT INTO "delivery_changes" ("stream", "position", "deliveries")
VALUES ($1, $2, $3)
