SELECT `webhook_health`.`failing_since`, `webhook_health`.`failures`
FROM `webhook_health`
WHERE (`webhook_health`.`webhook_id` = ?)
LIMIT ?
-- SEARCH webhook_health USING INTEGER PRIMARY KEY (rowid=?)

SELECT `webhook_successes`.`at`
FROM `webhook_successes`
WHERE (`webhook_successes`.`webhook_id` = ?)
LIMIT ?
-- SEARCH webhook_successes USING INTEGER PRIMARY KEY (rowid=?)

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
