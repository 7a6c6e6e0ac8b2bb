DELETE
FROM `signing_secrets`
WHERE ((`signing_secrets`.`webhook_id` = ?)
  AND (`signing_secrets`.`expires_at` IS NOT NULL))
-- SEARCH signing_secrets USING INDEX signing_secrets_webhook (webhook_id=?)

INSERT INTO `audit_log` (`id`, `at`, `actor`, `action`, `resource`, `details`, `organization_id`)
VALUES (?, ?, ?, ?, ?, ?, ?)
