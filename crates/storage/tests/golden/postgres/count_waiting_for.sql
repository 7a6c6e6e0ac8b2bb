SELECT "pending_deliveries"."delivery_id"
FROM "pending_deliveries"
WHERE ("pending_deliveries"."webhook_id" = $1)
LIMIT $2
