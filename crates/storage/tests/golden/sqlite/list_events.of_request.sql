SELECT `idempotency_keys`.`event_id`
FROM `idempotency_keys`
WHERE ((`idempotency_keys`.`organization_id` = ?)
  AND (`idempotency_keys`.`request_id` = ?))
LIMIT ?
-- SEARCH idempotency_keys USING PRIMARY KEY (organization_id=? AND request_id=?)

SELECT `events`.`id`, `events`.`event_type`, `events`.`webhooks`, `events`.`occurred_at`,
    `events`.`attributes`, `events`.`request_id`, `events`.`ordering_key`, `events`.`replay_of`,
    CAST(length(payload) AS BIGINT)
FROM `events`
WHERE (((`events`.`organization_id` = ?)
  AND (`events`.`id` < ?))
  AND (`events`.`id` = ?))
ORDER BY `events`.`id` DESC
LIMIT ?
-- SEARCH events USING INTEGER PRIMARY KEY (rowid=?)
