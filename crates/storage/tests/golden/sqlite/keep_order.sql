UPDATE `operations`
SET `state` = ?, `error` = ?, `ended_at` = ?
WHERE ((((`operations`.`organization_id` = ?)
  AND (`operations`.`state` = ?))
  AND (`operations`.`webhook_id` = ?))
  AND (`operations`.`kind` = ?))
-- SEARCH operations USING INDEX operations_organization (organization_id=?)
