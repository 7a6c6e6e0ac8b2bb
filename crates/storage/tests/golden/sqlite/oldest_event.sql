SELECT `events`.`id`
FROM `events`
ORDER BY `events`.`id`
LIMIT ?
-- SCAN events
