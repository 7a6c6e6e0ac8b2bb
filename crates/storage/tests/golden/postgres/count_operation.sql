SELECT delivery_id, node, due_at
FROM pending_deliveries
WHERE webhook_id = $1
  AND (node, due_at, delivery_id) > ($2, $3, $4)
ORDER BY node, due_at, delivery_id
LIMIT $5
