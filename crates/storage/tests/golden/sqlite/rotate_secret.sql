DELETE
FROM `signing_secrets`
WHERE ((`signing_secrets`.`webhook_id` = ?)
  AND (`signing_secrets`.`expires_at` IS NOT NULL))
-- SEARCH signing_secrets USING INDEX signing_secrets_webhook (webhook_id=?)

UPDATE `signing_secrets`
SET `expires_at` = ?
WHERE (`signing_secrets`.`webhook_id` = ?)
-- SEARCH signing_secrets USING INDEX signing_secrets_webhook (webhook_id=?)

INSERT INTO `signing_secrets` (`id`, `webhook_id`, `sealed`, `created_at`)
VALUES (?, ?, ?, ?)

INSERT INTO `audit_log` (`id`, `at`, `actor`, `action`, `resource`, `details`, `organization_id`)
VALUES (?, ?, ?, ?, ?, ?, ?)
