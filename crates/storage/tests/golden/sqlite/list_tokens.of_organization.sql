SELECT `tokens`.`id`, `tokens`.`hash`, `tokens`.`name`, `tokens`.`scope`, `tokens`.`organization_id`,
    `tokens`.`created_at`, `tokens`.`expires_at`, `tokens`.`revoked_at`, `organizations`.`name`
FROM (`tokens`
LEFT OUTER JOIN `organizations` ON (`tokens`.`organization_id` = `organizations`.`id`))
WHERE ((`tokens`.`id` < ?)
  AND (`tokens`.`organization_id` = ?))
ORDER BY `tokens`.`id` DESC
LIMIT ?
-- SEARCH tokens USING INTEGER PRIMARY KEY (rowid<?)
-- SEARCH organizations USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN
