SELECT `pending_deliveries`.`node`
FROM `pending_deliveries`
WHERE ((`pending_deliveries`.`webhook_id` = ?)
  AND (`pending_deliveries`.`node` > ?))
ORDER BY `pending_deliveries`.`node`
LIMIT ?
-- SEARCH pending_deliveries USING COVERING INDEX pending_deliveries_due (webhook_id=? AND node>?)

SELECT `pending_deliveries`.`delivery_id`, `pending_deliveries`.`event_id`,
    `pending_deliveries`.`organization_id`, `pending_deliveries`.`webhook_id`, `pending_deliveries`.`due_at`,
    `pending_deliveries`.`attempts`, `pending_deliveries`.`ordering_key`, `pending_deliveries`.`leased_at`
FROM `pending_deliveries`
WHERE (((((`pending_deliveries`.`webhook_id` = ?)
  AND (`pending_deliveries`.`node` = ?))
  AND (`pending_deliveries`.`due_at` >= ?))
  AND (`pending_deliveries`.`due_at` <= ?))
  AND (`pending_deliveries`.`delivery_id` > ?))
ORDER BY `pending_deliveries`.`due_at`, `pending_deliveries`.`delivery_id`
LIMIT ?
-- SEARCH pending_deliveries USING INDEX pending_deliveries_due (webhook_id=? AND node=? AND due_at>? AND due_at<?)

SELECT `events`.`id`, CAST(length(payload) AS BIGINT)
FROM `events`
WHERE (`events`.`id` IN (?, ...))
-- SEARCH events USING INTEGER PRIMARY KEY (rowid=?)

SELECT `events`.`id`, `events`.`organization_id`, `events`.`event_type`, `events`.`payload`,
    `events`.`webhooks`, `events`.`occurred_at`, `events`.`attributes`, `events`.`trace`,
    `events`.`tracestate`, `events`.`request_id`, `events`.`ordering_key`, `events`.`replay_of`
FROM `events`
WHERE (`events`.`id` IN (?, ...))
-- SEARCH events USING INTEGER PRIMARY KEY (rowid=?)

INSERT OR IGNORE INTO `attempts` (`delivery_id`, `number`, `event_id`, `organization_id`, `webhook_id`,
    `started_at`, `duration_us`, `status`, `error_class`, `error_message`, `delivery_state`, `details`,
    `response_body`)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?), (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?), (?, ?, ?, ?, ?, ?,
    ?, ?, ?, ?, ?, ?, ?), (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?), (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?),
    (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?), (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?), (?, ?, ?, ?, ?, ?, ?,
    ?, ?, ?, ?, ?, ?), (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?), (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?), (?,
    ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?), (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?), (?, ?, ?, ?, ?, ?, ?, ?, ?,
    ?, ?, ?, ?), (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?), (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?), (?, ?, ?,
    ?, ?, ?, ?, ?, ?, ?, ?, ?, ?), (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?), (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
    ?, ?), (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
-- SCAN 19-ROW VALUES CLAUSE

UPDATE `pending_deliveries`
SET `due_at` = ?, `attempts` = (`pending_deliveries`.`attempts` + ?), `leased_at` = ?
WHERE (`pending_deliveries`.`delivery_id` IN (?, ...))
-- SEARCH pending_deliveries USING INTEGER PRIMARY KEY (rowid=?)
