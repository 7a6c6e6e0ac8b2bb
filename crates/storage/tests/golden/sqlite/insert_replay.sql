SELECT COUNT(*)
FROM `replays`
WHERE ((`replays`.`organization_id` = ?)
  AND (`replays`.`state` = ?))
-- SEARCH replays USING INDEX replays_organization (organization_id=?)

INSERT INTO `replays` (`id`, `organization_id`, `spec`, `state`, `first_id`, `last_id`, `cursor`, `examined`,
    `matched`, `replayed`, `skipped`, `node`, `leased_until`, `created_at`)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

INSERT INTO `audit_log` (`id`, `at`, `actor`, `action`, `resource`, `details`, `organization_id`)
VALUES (?, ?, ?, ?, ?, ?, ?)
