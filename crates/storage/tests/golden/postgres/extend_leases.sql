SELECT "pending_deliveries"."delivery_id", "pending_deliveries"."event_id",
    "pending_deliveries"."organization_id", "pending_deliveries"."webhook_id", "pending_deliveries"."due_at",
    "pending_deliveries"."attempts", "pending_deliveries"."ordering_key", "pending_deliveries"."leased_at"
FROM "pending_deliveries"
WHERE (("pending_deliveries"."delivery_id" = ANY($1))
  AND ("pending_deliveries"."webhook_id" = $2))
ORDER BY "pending_deliveries"."delivery_id" FOR UPDATE

UPDATE "pending_deliveries"
SET "due_at" = $1
WHERE ("pending_deliveries"."delivery_id" = ANY($2))
