SELECT "pending_deliveries"."delivery_id", "pending_deliveries"."event_id",
    "pending_deliveries"."organization_id", "pending_deliveries"."webhook_id", "pending_deliveries"."due_at",
    "pending_deliveries"."attempts", "pending_deliveries"."ordering_key"
FROM "pending_deliveries"
WHERE (("pending_deliveries"."delivery_id" = $1)
  AND ("pending_deliveries"."organization_id" = $2))
LIMIT $3

SELECT pg_advisory_xact_lock(l # (CASE current_schema() WHEN 'public' THEN 0 ELSE hashtextextended(current_schema()::text,
    0) END))
FROM unnest($1) AS l

INSERT INTO "delivery_endings" ("delivery_id", "event_id", "organization_id", "webhook_id", "state",
    "reason", "ended_at")
VALUES ($1, $2, $3, $4, $5, $6, $7)

DELETE
FROM "pending_deliveries"
WHERE ("pending_deliveries"."delivery_id" = $1)

SELECT "pending_deliveries"."delivery_id", "pending_deliveries"."due_at"
FROM "pending_deliveries"
WHERE (("pending_deliveries"."webhook_id" = $1)
  AND ("pending_deliveries"."ordering_key" = $2))
ORDER BY "pending_deliveries"."position"
LIMIT $3

SELECT pg_advisory_xact_lock($1 # (CASE current_schema() WHEN 'public' THEN 0 ELSE hashtextextended(current_schema()::text,
    0) END))

SELECT max("delivery_changes"."position")
FROM "delivery_changes"
WHERE ("delivery_changes"."stream" = $1)
LIMIT $2

INSERT INTO "delivery_changes" ("stream", "position", "deliveries")
VALUES ($1, $2, $3)

INSERT INTO "audit_log" ("id", "at", "actor", "action", "resource", "details", "organization_id")
VALUES ($1, $2, $3, $4, $5, $6, $7)
