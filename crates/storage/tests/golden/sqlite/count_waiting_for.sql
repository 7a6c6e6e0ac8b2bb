SELECT `pending_deliveries`.`delivery_id`
FROM `pending_deliveries`
WHERE (`pending_deliveries`.`webhook_id` = ?)
LIMIT ?
-- SEARCH pending_deliveries USING COVERING INDEX pending_deliveries_due (webhook_id=?)
