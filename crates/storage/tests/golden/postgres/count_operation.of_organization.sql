SELECT w.id, p.waits IS NOT NULL AS waits
FROM (SELECT id
FROM webhooks
WHERE organization_id = $1
  AND id >= $2
ORDER BY id
LIMIT $3) AS w
LEFT JOIN LATERAL (SELECT true AS waits
FROM pending_deliveries
WHERE webhook_id = w.id
ORDER BY node
LIMIT 1) AS p ON true
ORDER BY w.id

SELECT delivery_id, node, due_at
FROM pending_deliveries
WHERE webhook_id = $1
  AND (node, due_at, delivery_id) > ($2, $3, $4)
ORDER BY node, due_at, delivery_id
LIMIT $5
