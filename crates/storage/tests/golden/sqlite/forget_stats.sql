SELECT min(`delivery_stats`.`started_at`)
FROM `delivery_stats`
WHERE (`delivery_stats`.`period` = ?)
LIMIT ?
-- SEARCH delivery_stats USING COVERING INDEX delivery_stats_age (period=?)

DELETE
FROM `delivery_stats`
WHERE ((`delivery_stats`.`period` = ?)
  AND (`delivery_stats`.`started_at` = ?))
-- SEARCH delivery_stats USING INDEX delivery_stats_age (period=? AND started_at=?)
