SELECT `events`.`id`, `events`.`event_type`, `events`.`webhooks`, `events`.`occurred_at`,
    `events`.`attributes`, `events`.`request_id`, `events`.`ordering_key`, `events`.`replay_of`,
    CAST(length(payload) AS BIGINT)
FROM `events`
WHERE ((`events`.`organization_id` = ?)
  AND (`events`.`id` < ?))
ORDER BY `events`.`id` DESC
LIMIT ?
-- SEARCH events USING INDEX events_organization (organization_id=? AND id<?)
