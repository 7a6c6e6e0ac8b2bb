SELECT `events`.`id`
FROM `events`
WHERE (`events`.`id` IN (?, ...))
-- SEARCH events USING INTEGER PRIMARY KEY (rowid=?)
