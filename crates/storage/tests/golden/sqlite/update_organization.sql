UPDATE `organizations`
SET `display_name` = ?, `updated_at` = ?
WHERE (`organizations`.`id` = ?)
-- SEARCH organizations USING INTEGER PRIMARY KEY (rowid=?)

INSERT INTO `audit_log` (`id`, `at`, `actor`, `action`, `resource`, `details`, `organization_id`)
VALUES (?, ?, ?, ?, ?, ?, ?)
