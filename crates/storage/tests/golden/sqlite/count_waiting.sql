SELECT count(*) AS count
FROM (SELECT 1
FROM pending_deliveries
LIMIT ?1)
-- CO-ROUTINE (subquery-1)
-- SCAN pending_deliveries USING COVERING INDEX pending_deliveries_due
-- SCAN (subquery-1)
