SELECT `events`.`id`
FROM `events`
WHERE ((`events`.`id` > ?)
  AND (`events`.`id` <= ?))
ORDER BY `events`.`id`
LIMIT ?
-- SEARCH events USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)

SELECT `events`.`id`, `events`.`organization_id`, `events`.`webhooks`, CAST(length(payload) AS BIGINT)
FROM `events`
WHERE (`events`.`id` IN (?, ...))
ORDER BY `events`.`id`
-- SEARCH events USING INTEGER PRIMARY KEY (rowid=?)

SELECT `pending_deliveries`.`delivery_id`
FROM `pending_deliveries`
WHERE (`pending_deliveries`.`delivery_id` IN (?, ...))
-- SEARCH pending_deliveries USING INTEGER PRIMARY KEY (rowid=?)

SELECT `attempts`.`delivery_id`
FROM `attempts`
WHERE ((`attempts`.`delivery_id` BETWEEN ? AND ?)
  AND (`attempts`.`delivery_id` IN (?, ...)))
-- SEARCH attempts USING PRIMARY KEY (delivery_id=?)

SELECT `delivery_endings`.`delivery_id`
FROM `delivery_endings`
WHERE ((`delivery_endings`.`delivery_id` BETWEEN ? AND ?)
  AND (`delivery_endings`.`delivery_id` IN (?, ...)))
-- SEARCH delivery_endings USING INTEGER PRIMARY KEY (rowid=?)
