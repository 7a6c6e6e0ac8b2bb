UPDATE `event_types`
SET `name` = ?, `description` = ?, `json_schema` = ?, `schema_mode` = ?, `schema_version` = ?, `example` = ?,
    `archived` = ?, `created_at` = ?, `updated_at` = ?, `visible_to` = ?
WHERE (`event_types`.`id` = ?)
-- SEARCH event_types USING INTEGER PRIMARY KEY (rowid=?)

INSERT INTO `event_type_schemas` (`event_type_id`, `version`, `json_schema`, `created_at`)
VALUES (?, ?, ?, ?)
ON CONFLICT DO NOTHING

INSERT INTO `audit_log` (`id`, `at`, `actor`, `action`, `resource`, `details`, `organization_id`)
VALUES (?, ?, ?, ?, ?, ?, ?)
