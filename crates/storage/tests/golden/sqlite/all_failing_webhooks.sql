SELECT `webhook_health`.`webhook_id`, `webhook_health`.`failing_since`, `webhook_health`.`failures`
FROM `webhook_health`
-- SCAN webhook_health
