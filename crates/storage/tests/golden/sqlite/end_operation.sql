UPDATE `operations`
SET `state` = ?, `ended_at` = ?, `updated_at` = ?
WHERE ((`operations`.`id` = ?)
  AND (`operations`.`state` = ?))
-- SEARCH operations USING INTEGER PRIMARY KEY (rowid=?)

INSERT INTO `audit_log` (`id`, `at`, `actor`, `action`, `resource`, `details`, `organization_id`)
VALUES (?, ?, ?, ?, ?, ?, ?)
