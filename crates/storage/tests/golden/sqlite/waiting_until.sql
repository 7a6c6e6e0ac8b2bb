SELECT `pending_deliveries`.`delivery_id`
FROM `pending_deliveries`
WHERE (((`pending_deliveries`.`webhook_id` = ?)
  AND (`pending_deliveries`.`node` = ?))
  AND (`pending_deliveries`.`due_at` <= ?))
ORDER BY `pending_deliveries`.`due_at`, `pending_deliveries`.`delivery_id`
LIMIT ?
-- SEARCH pending_deliveries USING COVERING INDEX pending_deliveries_due (webhook_id=? AND node=? AND due_at<?)
