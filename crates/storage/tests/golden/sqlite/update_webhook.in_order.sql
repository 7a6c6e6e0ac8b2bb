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

UPDATE `operations`
SET `state` = ?, `error` = ?, `ended_at` = ?
WHERE ((((`operations`.`organization_id` = ?)
  AND (`operations`.`state` = ?))
  AND (`operations`.`webhook_id` = ?))
  AND (`operations`.`kind` = ?))
-- SEARCH operations USING INDEX operations_organization (organization_id=?)
