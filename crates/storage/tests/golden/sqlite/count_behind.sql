SELECT `pending_deliveries`.`delivery_id`
FROM `pending_deliveries`
WHERE ((`pending_deliveries`.`webhook_id` = ?)
  AND (`pending_deliveries`.`ordering_key` = ?))
ORDER BY `pending_deliveries`.`position`
LIMIT ?
-- SEARCH pending_deliveries USING COVERING INDEX pending_deliveries_order (webhook_id=? AND ordering_key=?)
