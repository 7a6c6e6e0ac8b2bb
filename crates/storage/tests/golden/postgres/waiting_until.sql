SELECT "pending_deliveries"."delivery_id"
FROM "pending_deliveries"
WHERE ((("pending_deliveries"."webhook_id" = $1)
  AND ("pending_deliveries"."node" = $2))
  AND ("pending_deliveries"."due_at" <= $3))
ORDER BY "pending_deliveries"."due_at", "pending_deliveries"."delivery_id"
LIMIT $4
