UPDATE `replays`
SET `node` = ?, `leased_until` = ?
WHERE ((`replays`.`state` = ?)
  AND ((`replays`.`leased_until` < ?) OR (`replays`.`leased_until` > ?)))
RETURNING `id`, `organization_id`, `request_id`, `spec`, `state`, `error`, `first_id`, `last_id`, `cursor`,
    `examined`, `matched`, `replayed`, `skipped`, `node`, `leased_until`, `created_at`, `ended_at`
-- SCAN replays
