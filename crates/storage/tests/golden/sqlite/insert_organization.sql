INSERT INTO `organizations` (`id`, `name`, `display_name`, `created_at`, `updated_at`)
VALUES (?, ?, ?, ?, ?)

INSERT INTO `audit_log` (`id`, `at`, `actor`, `action`, `resource`, `details`, `organization_id`)
VALUES (?, ?, ?, ?, ?, ?, ?)
