UPDATE `replays`
SET `state` = ?, `error` = ?, `ended_at` = ?
WHERE ((`replays`.`id` = ?)
  AND (`replays`.`state` = ?))
-- SEARCH replays USING INTEGER PRIMARY KEY (rowid=?)

INSERT INTO `audit_log` (`id`, `at`, `actor`, `action`, `resource`, `details`, `organization_id`)
VALUES (?, ?, ?, ?, ?, ?, ?)
