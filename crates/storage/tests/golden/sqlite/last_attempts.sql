SELECT `attempts`.`delivery_id`, `attempts`.`number`, `attempts`.`started_at`, `attempts`.`duration_us`,
    `attempts`.`status`, `attempts`.`error_class`, `attempts`.`delivery_state`
FROM `attempts`
WHERE (((`attempts`.`delivery_id` = ?)
  AND (`attempts`.`organization_id` = ?))
  AND (`attempts`.`number` < ?))
ORDER BY `attempts`.`number` DESC
LIMIT ?
-- SEARCH attempts USING PRIMARY KEY (delivery_id=? AND number<?)
