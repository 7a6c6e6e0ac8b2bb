UPDATE `organizations`
SET `deleted_at` = ?
WHERE (`organizations`.`id` = ?)
-- SEARCH organizations USING INTEGER PRIMARY KEY (rowid=?)

SELECT `webhooks`.`id`
FROM `webhooks`
WHERE ((`webhooks`.`organization_id` = ?)
  AND (`webhooks`.`deleted_at` IS NULL))
-- SEARCH webhooks USING INDEX webhooks_organization (organization_id=?)

UPDATE `webhooks`
SET `deleted_at` = ?, `active` = ?
WHERE (`webhooks`.`id` IN (?, ...))
-- SEARCH webhooks USING INTEGER PRIMARY KEY (rowid=?)

DELETE
FROM `webhook_health`
WHERE (`webhook_health`.`webhook_id` IN (?, ...))
-- SEARCH webhook_health USING INTEGER PRIMARY KEY (rowid=?)

UPDATE `tokens`
SET `revoked_at` = ?
WHERE ((`tokens`.`organization_id` = ?)
  AND (`tokens`.`revoked_at` IS NULL))
-- SCAN tokens

INSERT INTO `audit_log` (`id`, `at`, `actor`, `action`, `resource`, `details`, `organization_id`)
VALUES (?, ?, ?, ?, ?, ?, ?)

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
