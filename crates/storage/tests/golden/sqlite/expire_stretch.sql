SELECT `events`.`id`
FROM `events`
WHERE ((`events`.`id` > ?)
  AND (`events`.`id` < ?))
ORDER BY `events`.`id`
LIMIT ?
-- SEARCH events USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)

SELECT DISTINCT `pending_deliveries`.`event_id`
FROM `pending_deliveries`
WHERE (`pending_deliveries`.`delivery_id` BETWEEN ? AND ?)
ORDER BY `pending_deliveries`.`event_id`
-- SEARCH pending_deliveries USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)
-- USE TEMP B-TREE FOR DISTINCT

SELECT `events`.`id`, `events`.`organization_id`, `events`.`webhooks`, `events`.`request_id`
FROM `events`
WHERE (`events`.`id` IN (?, ...))
ORDER BY `events`.`id`
-- SEARCH events USING INTEGER PRIMARY KEY (rowid=?)

DELETE
FROM `idempotency_keys`
WHERE (((`idempotency_keys`.`organization_id` = ?)
  AND (`idempotency_keys`.`request_id` IN (?, ...)))
  AND (`idempotency_keys`.`event_id` IN (?, ...)))
-- SEARCH idempotency_keys USING PRIMARY KEY (organization_id=? AND request_id=?)

DELETE
FROM `attempts`
WHERE ((`attempts`.`delivery_id` BETWEEN ? AND ?)
  AND (1=1))
-- SEARCH attempts USING PRIMARY KEY (delivery_id>? AND delivery_id<?)

DELETE
FROM `delivery_endings`
WHERE ((`delivery_endings`.`delivery_id` BETWEEN ? AND ?)
  AND (1=1))
-- SEARCH delivery_endings USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)

DELETE
FROM `event_replays`
WHERE ((`event_replays`.`replay_id` BETWEEN ? AND ?)
  AND (1=1))
-- SEARCH event_replays USING INDEX event_replays_replay (replay_id>? AND replay_id<?)

DELETE
FROM `events`
WHERE ((`events`.`id` BETWEEN ? AND ?)
  AND (1=1))
-- SEARCH events USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)
