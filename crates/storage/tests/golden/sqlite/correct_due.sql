SELECT `pending_deliveries`.`delivery_id`, `pending_deliveries`.`attempts`
FROM `pending_deliveries`
WHERE (((((`pending_deliveries`.`webhook_id` = ?)
  AND (`pending_deliveries`.`node` = ?))
  AND (`pending_deliveries`.`due_at` > ?))
  AND (`pending_deliveries`.`due_at` < ?))
  AND ((`pending_deliveries`.`due_at` > ?) OR ((`pending_deliveries`.`attempts` = ?)
  AND (`pending_deliveries`.`due_at` > ?))))
ORDER BY `pending_deliveries`.`due_at`
LIMIT ?
-- SEARCH pending_deliveries USING INDEX pending_deliveries_due (webhook_id=? AND node=? AND due_at>? AND due_at<?)

UPDATE `pending_deliveries`
SET `due_at` = ?
WHERE ((`pending_deliveries`.`delivery_id` IN (?, ...))
  AND ((`pending_deliveries`.`due_at` > ?)
  AND (`pending_deliveries`.`due_at` < ?)))
-- SEARCH pending_deliveries USING INTEGER PRIMARY KEY (rowid=?)
