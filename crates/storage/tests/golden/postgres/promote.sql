SELECT "pending_deliveries"."delivery_id", "pending_deliveries"."due_at"
FROM "pending_deliveries"
WHERE (("pending_deliveries"."webhook_id" = $1)
  AND ("pending_deliveries"."ordering_key" = $2))
ORDER BY "pending_deliveries"."position"
LIMIT $3

UPDATE "pending_deliveries"
SET "due_at" = $1, "node" = $2
WHERE ("pending_deliveries"."delivery_id" = $3)
