SELECT `pending_deliveries`.`delivery_id`, `pending_deliveries`.`event_id`,
    `pending_deliveries`.`organization_id`, `pending_deliveries`.`webhook_id`, `pending_deliveries`.`due_at`,
    `pending_deliveries`.`attempts`, `pending_deliveries`.`ordering_key`
FROM `pending_deliveries`
WHERE ((`pending_deliveries`.`delivery_id` = ?)
  AND (`pending_deliveries`.`organization_id` = ?))
LIMIT ?
-- SEARCH pending_deliveries USING INTEGER PRIMARY KEY (rowid=?)

UPDATE `pending_deliveries`
SET `due_at` = ?, `node` = ?
WHERE (`pending_deliveries`.`delivery_id` = ?)
-- SEARCH pending_deliveries USING INTEGER PRIMARY KEY (rowid=?)

INSERT INTO `audit_log` (`id`, `at`, `actor`, `action`, `resource`, `details`, `organization_id`)
VALUES (?, ?, ?, ?, ?, ?, ?)
