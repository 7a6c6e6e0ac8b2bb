WITH RECURSIVE w (webhook_id, node, due_at) AS ( SELECT p.webhook_id, p.node, p.due_at
FROM pending_deliveries p
WHERE p.delivery_id = coalesce( (SELECT n.delivery_id
FROM pending_deliveries AS n INDEXED BY pending_deliveries_due
WHERE n.webhook_id = ?1
  AND n.node > ?2
ORDER BY n.node, n.due_at
LIMIT 1), (SELECT n.delivery_id
FROM pending_deliveries AS n INDEXED BY pending_deliveries_due
WHERE n.webhook_id > ?1
ORDER BY n.webhook_id, n.node, n.due_at
LIMIT 1))
UNION ALL SELECT p.webhook_id, p.node, p.due_at
FROM w JOIN pending_deliveries p ON p.delivery_id = coalesce( (SELECT n.delivery_id
FROM pending_deliveries AS n INDEXED BY pending_deliveries_due
WHERE n.webhook_id = w.webhook_id
  AND n.node > w.node
ORDER BY n.node, n.due_at
LIMIT 1), (SELECT n.delivery_id
FROM pending_deliveries AS n INDEXED BY pending_deliveries_due
WHERE n.webhook_id > w.webhook_id
ORDER BY n.webhook_id, n.node, n.due_at
LIMIT 1))
LIMIT ?3) SELECT webhook_id, node, due_at
FROM w
-- CO-ROUTINE w
-- SETUP
-- SEARCH p USING INTEGER PRIMARY KEY (rowid=?)
-- SCALAR SUBQUERY 1
-- SEARCH n USING COVERING INDEX pending_deliveries_due (webhook_id=? AND node>?)
-- SCALAR SUBQUERY 2
-- SEARCH n USING COVERING INDEX pending_deliveries_due (webhook_id>?)
-- RECURSIVE STEP
-- SCAN w
-- SEARCH p USING INTEGER PRIMARY KEY (rowid=?)
-- CORRELATED SCALAR SUBQUERY 4
-- SEARCH n USING COVERING INDEX pending_deliveries_due (webhook_id=? AND node>?)
-- CORRELATED SCALAR SUBQUERY 5
-- SEARCH n USING COVERING INDEX pending_deliveries_due (webhook_id>?)
-- SCAN w
