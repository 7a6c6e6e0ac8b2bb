SELECT `webhooks`.`id`
FROM `webhooks`
WHERE ((((`webhooks`.`id` = ?)
  AND (`webhooks`.`version` = ?))
  AND (`webhooks`.`deleted_at` IS NULL))
  AND (`webhooks`.`active` = ?))
LIMIT ?
-- SEARCH webhooks USING INTEGER PRIMARY KEY (rowid=?)

UPDATE `webhooks`
SET `organization_id` = ?, `payload_url` = ?, `pull` = ?, `events` = ?, `filter` = ?, `active` = ?,
    `disabled_reason` = ?, `disabled_at` = ?, `description` = ?, `headers` = ?, `timeout_ms` = ?,
    `retry_delays_ms` = ?, `rate_limit` = ?, `ordered` = ?, `pauses` = ?, `insecure_skip_verify` = ?,
    `ed25519` = ?, `version` = ?, `created_at` = ?, `updated_at` = ?, `deleted_at` = ?
WHERE (((`webhooks`.`id` = ?)
  AND (`webhooks`.`version` = ?))
  AND (`webhooks`.`deleted_at` IS NULL))
-- SEARCH webhooks USING INTEGER PRIMARY KEY (rowid=?)

INSERT INTO `audit_log` (`id`, `at`, `actor`, `action`, `resource`, `details`, `organization_id`)
VALUES (?, ?, ?, ?, ?, ?, ?)

SELECT `pending_deliveries`.`delivery_id`
FROM `pending_deliveries`
WHERE ((`pending_deliveries`.`webhook_id` = ?)
  AND (`pending_deliveries`.`ordering_key` IS NOT NULL))
LIMIT ?
-- SEARCH pending_deliveries USING COVERING INDEX pending_deliveries_order (webhook_id=? AND ordering_key>?)

SELECT `operations`.`id`, `operations`.`webhook_id`, `operations`.`kind`
FROM `operations`
WHERE ((`operations`.`organization_id` = ?)
  AND (`operations`.`state` = ?))
-- SEARCH operations USING INDEX operations_organization (organization_id=?)

UPDATE `operations`
SET `state` = ?, `error` = ?, `ended_at` = ?
WHERE (`operations`.`id` IN (?, ...))
-- SEARCH operations USING INTEGER PRIMARY KEY (rowid=?)

UPDATE `pending_deliveries`
SET `due_at` = ?
WHERE ((`pending_deliveries`.`delivery_id` IN (?, ...))
  AND (`pending_deliveries`.`due_at` >= ?))
-- SEARCH pending_deliveries USING INTEGER PRIMARY KEY (rowid=?)

UPDATE `pending_deliveries`
SET `ordering_key` = ?, `position` = ?
WHERE (`pending_deliveries`.`delivery_id` IN (?, ...))
-- SEARCH pending_deliveries USING INTEGER PRIMARY KEY (rowid=?)

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

SELECT `pending_deliveries`.`delivery_id`, `pending_deliveries`.`event_id`,
    `pending_deliveries`.`organization_id`, `pending_deliveries`.`webhook_id`, `pending_deliveries`.`due_at`,
    `pending_deliveries`.`attempts`, `pending_deliveries`.`ordering_key`
FROM `pending_deliveries`
WHERE (`pending_deliveries`.`delivery_id` IN (?, ...))
-- SEARCH pending_deliveries USING INTEGER PRIMARY KEY (rowid=?)

INSERT OR IGNORE INTO `delivery_endings` (`delivery_id`, `event_id`, `organization_id`, `webhook_id`,
    `state`, `reason`, `ended_at`)
VALUES (?, ?, ?, ?, ?, ?, ?)

DELETE
FROM `pending_deliveries`
WHERE (`pending_deliveries`.`delivery_id` IN (?, ...))
-- SEARCH pending_deliveries USING INTEGER PRIMARY KEY (rowid=?)

SELECT max(`delivery_changes`.`position`)
FROM `delivery_changes`
WHERE (`delivery_changes`.`stream` = ?)
LIMIT ?
-- SEARCH delivery_changes USING PRIMARY KEY (stream=?)

INSERT INTO `delivery_changes` (`stream`, `position`, `deliveries`)
VALUES (?, ?, ?)
