SELECT `webhook_health`.`failing_since`, `webhook_health`.`failures`
FROM `webhook_health`
WHERE (`webhook_health`.`webhook_id` = ?)
LIMIT ?
-- SEARCH webhook_health USING INTEGER PRIMARY KEY (rowid=?)

SELECT `webhook_successes`.`at`
FROM `webhook_successes`
WHERE (`webhook_successes`.`webhook_id` = ?)
LIMIT ?
-- SEARCH webhook_successes USING INTEGER PRIMARY KEY (rowid=?)
