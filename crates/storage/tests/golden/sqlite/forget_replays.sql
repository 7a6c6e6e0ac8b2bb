SELECT `replays`.`id`
FROM `replays`
WHERE (`replays`.`ended_at` < ?)
ORDER BY `replays`.`id`
LIMIT ?
-- SCAN replays

DELETE
FROM `replays`
WHERE (`replays`.`id` IN (?, ...))
-- SEARCH replays USING INTEGER PRIMARY KEY (rowid=?)
