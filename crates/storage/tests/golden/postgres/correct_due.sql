SELECT "pending_deliveries"."delivery_id", "pending_deliveries"."attempts"
FROM "pending_deliveries"
WHERE ((((("pending_deliveries"."webhook_id" = $1)
  AND ("pending_deliveries"."node" = $2))
  AND ("pending_deliveries"."due_at" > $3))
  AND ("pending_deliveries"."due_at" < $4))
  AND (("pending_deliveries"."due_at" > $5) OR (("pending_deliveries"."attempts" = $6)
  AND ("pending_deliveries"."due_at" > $7))))
ORDER BY "pending_deliveries"."due_at"
LIMIT $8

UPDATE "pending_deliveries"
SET "due_at" = $1
WHERE (("pending_deliveries"."delivery_id" = ANY($2))
  AND (("pending_deliveries"."due_at" > $3)
  AND ("pending_deliveries"."due_at" < $4)))
