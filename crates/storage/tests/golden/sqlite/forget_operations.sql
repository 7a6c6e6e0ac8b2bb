SELECT `operations`.`id`
FROM `operations`
WHERE (`operations`.`ended_at` < ?)
ORDER BY `operations`.`ended_at`
LIMIT ?
-- SEARCH operations USING COVERING INDEX operations_ended (ended_at<?)

DELETE
FROM `operations`
WHERE (`operations`.`id` IN (?, ...))
-- SEARCH operations USING INTEGER PRIMARY KEY (rowid=?)
