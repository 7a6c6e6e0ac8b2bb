UPDATE "operations"
SET "leased_until" = $1, "updated_at" = $2
WHERE ((("operations"."id" = $3)
  AND ("operations"."state" = $4))
  AND ("operations"."node" = $5))
RETURNING "operations"."id", "operations"."organization_id", "operations"."organization",
    "operations"."kind", "operations"."webhook_id", "operations"."through", "operations"."actor",
    "operations"."state", "operations"."error", "operations"."at_webhook", "operations"."at_node",
    "operations"."at_due", "operations"."at_delivery", "operations"."found", "operations"."done",
    "operations"."total", "operations"."node", "operations"."leased_until", "operations"."created_at",
    "operations"."updated_at", "operations"."ended_at", "operations"."begun_at"

SELECT pg_advisory_xact_lock(l # (CASE current_schema() WHEN 'public' THEN 0 ELSE hashtextextended(current_schema()::text,
    0) END))
FROM unnest($1) AS l

SELECT "pending_deliveries"."delivery_id"
FROM "pending_deliveries"
WHERE (("pending_deliveries"."webhook_id" = $1)
  AND ("pending_deliveries"."ordering_key" IS NOT NULL))
LIMIT $2

UPDATE "pending_deliveries"
SET "due_at" = $1
WHERE (("pending_deliveries"."delivery_id" = ANY($2))
  AND ("pending_deliveries"."due_at" >= $3))

UPDATE "pending_deliveries"
SET "ordering_key" = $1, "position" = $2
WHERE ("pending_deliveries"."delivery_id" = ANY($3))

UPDATE "operations"
SET "at_webhook" = $1, "at_node" = $2, "at_due" = $3, "at_delivery" = $4, "found" = $5, "done" = $6
WHERE ("operations"."id" = $7)
