SELECT `pending_deliveries`.`delivery_id`, `pending_deliveries`.`event_id`,
    `pending_deliveries`.`organization_id`, `pending_deliveries`.`webhook_id`, `pending_deliveries`.`due_at`,
    `pending_deliveries`.`attempts`, `pending_deliveries`.`ordering_key`, `pending_deliveries`.`leased_at`
FROM `pending_deliveries`
WHERE ((`pending_deliveries`.`delivery_id` IN (?, ...))
  AND (`pending_deliveries`.`webhook_id` = ?))
ORDER BY `pending_deliveries`.`delivery_id`
-- SEARCH pending_deliveries USING INTEGER PRIMARY KEY (rowid=?)

DELETE
FROM `pending_deliveries`
WHERE (`pending_deliveries`.`delivery_id` IN (?, ...))
-- SEARCH pending_deliveries USING INTEGER PRIMARY KEY (rowid=?)

INSERT OR IGNORE INTO `attempts` (`delivery_id`, `number`, `event_id`, `organization_id`, `webhook_id`,
    `started_at`, `duration_us`, `status`, `error_class`, `error_message`, `delivery_state`, `details`,
    `response_body`)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

SELECT `pending_deliveries`.`delivery_id`, `pending_deliveries`.`due_at`
FROM `pending_deliveries`
WHERE ((`pending_deliveries`.`webhook_id` = ?)
  AND (`pending_deliveries`.`ordering_key` = ?))
ORDER BY `pending_deliveries`.`position`
LIMIT ?
-- SEARCH pending_deliveries USING INDEX pending_deliveries_order (webhook_id=? AND ordering_key=?)

SELECT max(`delivery_changes`.`position`)
FROM `delivery_changes`
WHERE (`delivery_changes`.`stream` = ?)
LIMIT ?
-- SEARCH delivery_changes USING PRIMARY KEY (stream=?)

INSERT INTO `delivery_changes` (`stream`, `position`, `deliveries`)
VALUES (?, ?, ?)
