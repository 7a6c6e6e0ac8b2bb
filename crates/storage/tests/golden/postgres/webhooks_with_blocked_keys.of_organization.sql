SELECT "pending_deliveries"."organization_id", "pending_deliveries"."webhook_id"
FROM "pending_deliveries"
WHERE (((pending_deliveries.due_at = 9223372036854775806
  AND ("pending_deliveries"."webhook_id" <= $1))
  AND ("pending_deliveries"."organization_id" = $2))
  AND ("pending_deliveries"."webhook_id" > $3))
ORDER BY "pending_deliveries"."organization_id", "pending_deliveries"."webhook_id",
    "pending_deliveries"."delivery_id"
LIMIT $4
