SELECT `events`.`id`, `events`.`event_type`, `events`.`webhooks`, `events`.`occurred_at`,
    `events`.`attributes`, `events`.`request_id`, `events`.`ordering_key`, `events`.`replay_of`,
    CAST(length(payload) AS BIGINT), substr(payload, 1, 100)
FROM `events`
WHERE (((`events`.`id` = ?)
  AND (`events`.`organization_id` = ?))
  AND (`events`.`replay_of` IS NULL))
LIMIT ?
-- SEARCH events USING INTEGER PRIMARY KEY (rowid=?)
