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
