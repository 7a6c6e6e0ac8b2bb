SELECT count(*) / $3 AS number
FROM ( SELECT 1
FROM pending_deliveries
WHERE webhook_id = $1
  AND node = $2
LIMIT $4) AS waiting
