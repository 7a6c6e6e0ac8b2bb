SELECT `tokens`.`id`, `tokens`.`name`
FROM `tokens`
WHERE (`tokens`.`id` IN (?, ...))
-- SEARCH tokens USING INTEGER PRIMARY KEY (rowid=?)
