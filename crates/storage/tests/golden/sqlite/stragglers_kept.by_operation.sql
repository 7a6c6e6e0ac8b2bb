SELECT `webhooks`.`organization_id`, `webhooks`.`deleted_at`
FROM `webhooks`
WHERE (`webhooks`.`id` = ?)
LIMIT ?
-- SEARCH webhooks USING INTEGER PRIMARY KEY (rowid=?)
