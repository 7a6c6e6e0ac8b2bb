SELECT pg_advisory_xact_lock(l # (CASE current_schema() WHEN 'public' THEN 0 ELSE hashtextextended(current_schema()::text,
    0) END))
FROM unnest($1) AS l

SELECT "pending_deliveries"."delivery_id", "pending_deliveries"."event_id",
    "pending_deliveries"."organization_id", "pending_deliveries"."webhook_id", "pending_deliveries"."due_at",
    "pending_deliveries"."attempts", "pending_deliveries"."ordering_key", "pending_deliveries"."leased_at"
FROM "pending_deliveries"
WHERE (("pending_deliveries"."delivery_id" = ANY($1))
  AND ("pending_deliveries"."webhook_id" = $2))
ORDER BY "pending_deliveries"."delivery_id" FOR UPDATE

DELETE
FROM "pending_deliveries"
WHERE ("pending_deliveries"."delivery_id" = ANY($1))

INSERT INTO attempts (delivery_id, number, event_id, organization_id, webhook_id, started_at, duration_us,
    status, error_class, error_message, delivery_state, details, response_body) SELECT *
FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
ON CONFLICT DO NOTHING

SELECT pg_advisory_xact_lock($1 # (CASE current_schema() WHEN 'public' THEN 0 ELSE hashtextextended(current_schema()::text,
    0) END))

SELECT max("delivery_changes"."position")
FROM "delivery_changes"
WHERE ("delivery_changes"."stream" = $1)
LIMIT $2

INSERT INTO "delivery_changes" ("stream", "position", "deliveries")
VALUES ($1, $2, $3)
