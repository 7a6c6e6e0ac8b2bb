INSERT INTO `event_types` (`id`, `name`, `description`, `json_schema`, `schema_mode`, `schema_version`,
    `archived`, `created_at`, `updated_at`)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)

INSERT INTO `event_type_schemas` (`event_type_id`, `version`, `json_schema`, `created_at`)
VALUES (?, ?, ?, ?)
ON CONFLICT DO NOTHING

INSERT INTO `audit_log` (`id`, `at`, `actor`, `action`, `resource`, `details`, `organization_id`)
VALUES (?, ?, ?, ?, ?, ?, ?)
