SELECT `idempotency_keys`.`request_id`, `idempotency_keys`.`event_id`
FROM `idempotency_keys`
WHERE ((`idempotency_keys`.`organization_id` = ?)
  AND (`idempotency_keys`.`request_id` IN (?, ...)))
-- SEARCH idempotency_keys USING PRIMARY KEY (organization_id=? AND request_id=?)

SELECT `events`.`id`, `events`.`organization_id`, `events`.`event_type`, `events`.`webhooks`,
    `events`.`replay_of`, `events`.`ordering_key`
FROM `events`
WHERE (`events`.`id` IN (?, ...))
-- SEARCH events USING INTEGER PRIMARY KEY (rowid=?)
