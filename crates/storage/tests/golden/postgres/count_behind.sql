SELECT "pending_deliveries"."delivery_id"
FROM "pending_deliveries"
WHERE (("pending_deliveries"."webhook_id" = $1)
  AND ("pending_deliveries"."ordering_key" = $2))
ORDER BY "pending_deliveries"."position"
LIMIT $3
