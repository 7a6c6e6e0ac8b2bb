SELECT `operations`.`id`, `operations`.`webhook_id`, `operations`.`kind`
FROM `operations`
WHERE ((`operations`.`organization_id` = ?)
  AND (`operations`.`state` = ?))
-- SEARCH operations USING INDEX operations_organization (organization_id=?)

UPDATE `operations`
SET `state` = ?, `error` = ?, `ended_at` = ?
WHERE (`operations`.`id` IN (?, ...))
-- SEARCH operations USING INTEGER PRIMARY KEY (rowid=?)

SELECT w.id, EXISTS (SELECT 1
FROM pending_deliveries AS p INDEXED BY pending_deliveries_due
WHERE p.webhook_id = w.id) AS waits
FROM (SELECT id
FROM webhooks
WHERE organization_id = ?1
  AND id >= ?2
ORDER BY id
LIMIT ?3) AS w
ORDER BY w.id
-- CO-ROUTINE w
-- SEARCH webhooks USING COVERING INDEX webhooks_owned (organization_id=? AND id>?)
-- SCAN w
-- CORRELATED SCALAR SUBQUERY 1
-- SEARCH p USING COVERING INDEX pending_deliveries_due (webhook_id=?)

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

INSERT INTO `operations` (`id`, `organization_id`, `organization`, `kind`, `through`, `actor`, `state`,
    `at_webhook`, `at_node`, `at_due`, `at_delivery`, `found`, `done`, `node`, `leased_until`, `created_at`,
    `updated_at`, `begun_at`)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
