SELECT *
FROM (SELECT delivery_id, node, due_at
FROM pending_deliveries INDEXED BY pending_deliveries_due
WHERE webhook_id = ?1
  AND node = ?2
  AND due_at = ?3
  AND delivery_id > ?4
ORDER BY delivery_id
LIMIT ?5)
UNION ALL SELECT *
FROM (SELECT delivery_id, node, due_at
FROM pending_deliveries INDEXED BY pending_deliveries_due
WHERE webhook_id = ?1
  AND node = ?2
  AND due_at > ?3
ORDER BY due_at, delivery_id
LIMIT ?5)
UNION ALL SELECT *
FROM (SELECT delivery_id, node, due_at
FROM pending_deliveries INDEXED BY pending_deliveries_due
WHERE webhook_id = ?1
  AND node > ?2
ORDER BY node, due_at, delivery_id
LIMIT ?5)
LIMIT ?5
-- COMPOUND QUERY
-- LEFT-MOST SUBQUERY
-- CO-ROUTINE (subquery-1)
-- SEARCH pending_deliveries USING COVERING INDEX pending_deliveries_due (webhook_id=? AND node=? AND due_at=? AND delivery_id>?)
-- SCAN (subquery-1)
-- UNION ALL
-- CO-ROUTINE (subquery-3)
-- SEARCH pending_deliveries USING COVERING INDEX pending_deliveries_due (webhook_id=? AND node=? AND due_at>?)
-- SCAN (subquery-3)
-- UNION ALL
-- CO-ROUTINE (subquery-5)
-- SEARCH pending_deliveries USING COVERING INDEX pending_deliveries_due (webhook_id=? AND node>?)
-- SCAN (subquery-5)
