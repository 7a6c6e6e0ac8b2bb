SELECT checkpoint AS number
FROM nodes
WHERE number = $1
  AND state = 3 FOR KEY SHARE

SELECT webhook_id, node
FROM webhook_owners
WHERE webhook_id = ANY($1)

UPDATE pending_deliveries
SET node = $3
WHERE delivery_id = ANY(ARRAY( SELECT p.delivery_id
FROM unnest($1) AS w (id) CROSS JOIN LATERAL ( SELECT delivery_id
FROM pending_deliveries
WHERE webhook_id = w.id
  AND node = $2
ORDER BY due_at, delivery_id
LIMIT $4 FOR UPDATE SKIP LOCKED) AS p
LIMIT $4))
RETURNING webhook_id, due_at
