SELECT `events`.`id`, `events`.`organization_id`, `events`.`event_type`, `events`.`webhooks`,
    `events`.`replay_of`, `events`.`ordering_key`
FROM `events`
WHERE ((`events`.`organization_id` = ?)
  AND (`events`.`id` < ?))
ORDER BY `events`.`id` DESC
LIMIT ?
-- SEARCH events USING INDEX events_organization (organization_id=? AND id<?)

SELECT `attempts`.`delivery_id`, `attempts`.`number`, `attempts`.`started_at`, `attempts`.`duration_us`,
    `attempts`.`status`, `attempts`.`error_class`, `attempts`.`error_message`, `attempts`.`delivery_state`
FROM `attempts`
WHERE ((`attempts`.`delivery_id` BETWEEN ? AND ?)
  AND (`attempts`.`delivery_id` IN (?, ...)))
ORDER BY `attempts`.`delivery_id`, `attempts`.`number`
-- SEARCH attempts USING PRIMARY KEY (delivery_id=?)

SELECT `pending_deliveries`.`delivery_id`, `pending_deliveries`.`event_id`,
    `pending_deliveries`.`organization_id`, `pending_deliveries`.`webhook_id`, `pending_deliveries`.`due_at`,
    `pending_deliveries`.`attempts`, `pending_deliveries`.`ordering_key`
FROM `pending_deliveries`
WHERE (`pending_deliveries`.`delivery_id` IN (?, ...))
-- SEARCH pending_deliveries USING INTEGER PRIMARY KEY (rowid=?)

SELECT `delivery_endings`.`delivery_id`, `delivery_endings`.`event_id`, `delivery_endings`.`organization_id`,
    `delivery_endings`.`webhook_id`, `delivery_endings`.`state`, `delivery_endings`.`reason`,
    `delivery_endings`.`ended_at`
FROM `delivery_endings`
WHERE ((`delivery_endings`.`delivery_id` BETWEEN ? AND ?)
  AND (`delivery_endings`.`delivery_id` IN (?, ...)))
-- SEARCH delivery_endings USING INTEGER PRIMARY KEY (rowid=?)
