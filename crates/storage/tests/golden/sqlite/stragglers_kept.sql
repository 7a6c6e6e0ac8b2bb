SELECT `webhooks`.`organization_id`, `webhooks`.`deleted_at`
FROM `webhooks`
WHERE (`webhooks`.`id` = ?)
LIMIT ?
-- SEARCH webhooks USING INTEGER PRIMARY KEY (rowid=?)

SELECT `operations`.`webhook_id`
FROM `operations`
WHERE ((`operations`.`organization_id` = ?)
  AND (`operations`.`state` = ?))
-- SEARCH operations USING INDEX operations_organization (organization_id=?)
