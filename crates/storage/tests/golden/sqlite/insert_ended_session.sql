DELETE
FROM `ended_sessions`
WHERE (`ended_sessions`.`ended_until` <= ?)
-- SCAN ended_sessions

INSERT INTO `ended_sessions` (`id`, `token_id`, `began_at`, `ended_until`, `and_earlier`)
VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING

UPDATE `ended_sessions`
SET `and_earlier` = ?
WHERE ((`ended_sessions`.`token_id` = ?)
  AND (`ended_sessions`.`began_at` = ?))
-- SCAN ended_sessions

DELETE
FROM `ended_sessions`
WHERE ((`ended_sessions`.`token_id` = ?)
  AND (`ended_sessions`.`began_at` < ?))
-- SCAN ended_sessions
