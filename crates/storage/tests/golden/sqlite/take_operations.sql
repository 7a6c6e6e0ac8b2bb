SELECT `operations`.`id`
FROM `operations`
WHERE ((`operations`.`state` = ?)
  AND (((`operations`.`leased_until` < ?) OR (`operations`.`leased_until` > ?)) OR (`operations`.`node` = ?)))
ORDER BY `operations`.`id`
LIMIT ?
-- SCAN operations

UPDATE `operations`
SET `node` = ?, `leased_until` = ?
WHERE (((`operations`.`id` IN (?, ...))
  AND (`operations`.`state` = ?))
  AND (((`operations`.`leased_until` < ?) OR (`operations`.`leased_until` > ?)) OR (`operations`.`node` = ?)))
RETURNING `id`, `organization_id`, `organization`, `kind`, `webhook_id`, `through`, `actor`, `state`,
    `error`, `at_webhook`, `at_node`, `at_due`, `at_delivery`, `found`, `done`, `total`, `node`,
    `leased_until`, `created_at`, `updated_at`, `ended_at`, `begun_at`
-- SEARCH operations USING INTEGER PRIMARY KEY (rowid=?)
