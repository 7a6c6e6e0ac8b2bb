SELECT epoch AS number
FROM nodes
WHERE number = $1
  AND state = 1 FOR KEY SHARE

UPDATE pending_deliveries
SET node = $3
WHERE delivery_id = ANY(ARRAY( SELECT delivery_id
FROM pending_deliveries
WHERE webhook_id = $1
  AND node = $2
  AND delivery_id <> ALL($4)
ORDER BY due_at DESC, delivery_id DESC
LIMIT $5 FOR UPDATE SKIP LOCKED))

SELECT pg_notify($1 || (CASE WHEN current_schema() = 'public' THEN '' WHEN octet_length(current_schema()::text) <= 32 THEN ' in ' || current_schema() ELSE ' in ' || md5(current_schema()::text) END),
    $2)
