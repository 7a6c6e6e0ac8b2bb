INSERT INTO `webhooks` (`id`, `organization_id`, `payload_url`, `pull`, `events`, `filter`, `active`,
    `description`, `headers`, `timeout_ms`, `ordered`, `pauses`, `insecure_skip_verify`, `version`,
    `created_at`, `updated_at`)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

INSERT INTO `signing_secrets` (`id`, `webhook_id`, `sealed`, `created_at`)
VALUES (?, ?, ?, ?)

INSERT INTO `audit_log` (`id`, `at`, `actor`, `action`, `resource`, `details`, `organization_id`)
VALUES (?, ?, ?, ?, ?, ?, ?)
