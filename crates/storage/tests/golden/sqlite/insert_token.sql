INSERT INTO `tokens` (`id`, `hash`, `name`, `scope`, `organization_id`, `created_at`)
VALUES (?, ?, ?, ?, ?, ?)

INSERT INTO `audit_log` (`id`, `at`, `actor`, `action`, `resource`, `details`, `organization_id`)
VALUES (?, ?, ?, ?, ?, ?, ?)
