SELECT `delivery_stats`.`subject_id`, `delivery_stats`.`period`, `delivery_stats`.`started_at`,
    `delivery_stats`.`attempts`, `delivery_stats`.`failed_attempts`, `delivery_stats`.`delivered`,
    `delivery_stats`.`failed`, `delivery_stats`.`durations`, `delivery_stats`.`latencies`
FROM `delivery_stats`
WHERE ((((`delivery_stats`.`subject_id` IN (?, ...))
  AND (`delivery_stats`.`period` IN (?, ...)))
  AND (`delivery_stats`.`started_at` IN (?, ...)))
  AND (`delivery_stats`.`node` = ?))
-- SEARCH delivery_stats USING PRIMARY KEY (subject_id=? AND period=? AND started_at=? AND node=?)

REPLACE INTO `delivery_stats` (`subject_id`, `period`, `started_at`, `node`, `attempts`, `failed_attempts`,
    `delivered`, `failed`, `durations`, `latencies`)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?), (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
-- SCAN 2-ROW VALUES CLAUSE
