SELECT `pending_deliveries`.`delivery_id`
FROM `pending_deliveries`
WHERE pending_deliveries.due_at = 9223372036854775806
LIMIT ?
-- SCAN pending_deliveries USING COVERING INDEX pending_deliveries_paused
