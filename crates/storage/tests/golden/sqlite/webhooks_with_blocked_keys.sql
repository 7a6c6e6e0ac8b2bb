SELECT `pending_deliveries`.`organization_id`, `pending_deliveries`.`webhook_id`
FROM `pending_deliveries`
WHERE (((pending_deliveries.due_at = 9223372036854775806
  AND (`pending_deliveries`.`webhook_id` <= ?))
  AND (`pending_deliveries`.`organization_id` >= ?))
  AND ((`pending_deliveries`.`organization_id` > ?) OR ((`pending_deliveries`.`organization_id` = ?)
  AND (`pending_deliveries`.`webhook_id` > ?))))
ORDER BY `pending_deliveries`.`organization_id`, `pending_deliveries`.`webhook_id`,
    `pending_deliveries`.`delivery_id`
LIMIT ?
-- SEARCH pending_deliveries USING COVERING INDEX pending_deliveries_paused (organization_id>?)
