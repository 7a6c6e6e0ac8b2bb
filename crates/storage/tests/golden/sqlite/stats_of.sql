SELECT `delivery_stats`.`subject_id`, `delivery_stats`.`attempts`, `delivery_stats`.`failed_attempts`,
    `delivery_stats`.`delivered`, `delivery_stats`.`failed`, `delivery_stats`.`durations`,
    `delivery_stats`.`latencies`
FROM `delivery_stats`
WHERE ((((`delivery_stats`.`subject_id` IN (?, ...))
  AND (`delivery_stats`.`period` = ?))
  AND (`delivery_stats`.`started_at` >= ?))
  AND (`delivery_stats`.`started_at` < ?))
-- SEARCH delivery_stats USING PRIMARY KEY (subject_id=? AND period=? AND started_at>? AND started_at<?)
