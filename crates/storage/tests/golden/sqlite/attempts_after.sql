SELECT `attempts`.`delivery_id`, `attempts`.`number`, `attempts`.`event_id`, `attempts`.`organization_id`,
    `attempts`.`webhook_id`, `attempts`.`started_at`, `attempts`.`duration_us`, `attempts`.`status`,
    `attempts`.`error_class`, `attempts`.`error_message`, `attempts`.`delivery_state`, `attempts`.`details`,
    `attempts`.`response_body`
FROM `attempts`
WHERE (((`attempts`.`delivery_id` = ?)
  AND (`attempts`.`organization_id` = ?))
  AND (`attempts`.`number` > ?))
ORDER BY `attempts`.`number`
LIMIT ?
-- SEARCH attempts USING PRIMARY KEY (delivery_id=? AND number>?)
