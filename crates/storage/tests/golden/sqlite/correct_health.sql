UPDATE `webhook_health`
SET `failing_since` = ?
WHERE (`webhook_health`.`failing_since` > ?)
-- SCAN webhook_health

UPDATE `webhook_successes`
SET `at` = ?
WHERE (`webhook_successes`.`at` > ?)
-- SCAN webhook_successes
