SELECT count(*) AS count
FROM (SELECT 1
FROM pending_deliveries
LIMIT $1) AS waiting
