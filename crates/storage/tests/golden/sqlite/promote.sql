SELECT `pending_deliveries`.`delivery_id`, `pending_deliveries`.`due_at`
FROM `pending_deliveries`
WHERE ((`pending_deliveries`.`webhook_id` = ?)
  AND (`pending_deliveries`.`ordering_key` = ?))
ORDER BY `pending_deliveries`.`position`
LIMIT ?
-- SEARCH pending_deliveries USING INDEX pending_deliveries_order (webhook_id=? AND ordering_key=?)

UPDATE `pending_deliveries`
SET `due_at` = ?, `node` = ?
WHERE (`pending_deliveries`.`delivery_id` = ?)
-- SEARCH pending_deliveries USING INTEGER PRIMARY KEY (rowid=?)
