SELECT `tokens`.`id`
FROM `tokens`
WHERE ((((`tokens`.`scope` = ?)
  AND (`tokens`.`organization_id` IS NULL))
  AND (`tokens`.`revoked_at` IS NULL))
  AND ((`tokens`.`expires_at` IS NULL) OR (`tokens`.`expires_at` > ?)))
-- SCAN tokens

UPDATE `tokens`
SET `revoked_at` = ?
WHERE ((`tokens`.`id` = ?)
  AND (`tokens`.`revoked_at` IS NULL))
-- SEARCH tokens USING INTEGER PRIMARY KEY (rowid=?)

INSERT INTO `audit_log` (`id`, `at`, `actor`, `action`, `resource`, `details`, `organization_id`)
VALUES (?, ?, ?, ?, ?, ?, ?)
