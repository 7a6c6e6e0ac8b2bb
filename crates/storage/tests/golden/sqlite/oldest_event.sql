SELECT `events`.`id`
FROM `events`
WHERE (`events`.`id` > ?)
ORDER BY `events`.`id`
LIMIT ?
-- SEARCH events USING INTEGER PRIMARY KEY (rowid>?)
