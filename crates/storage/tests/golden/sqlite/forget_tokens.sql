SELECT `tokens`.`id`
FROM `tokens`
WHERE ((`tokens`.`revoked_at` < ?) OR (`tokens`.`expires_at` < ?))
ORDER BY `tokens`.`id`
LIMIT ?
-- SCAN tokens

DELETE
FROM `tokens`
WHERE (`tokens`.`id` IN (?, ...))
-- SEARCH tokens USING INTEGER PRIMARY KEY (rowid=?)
