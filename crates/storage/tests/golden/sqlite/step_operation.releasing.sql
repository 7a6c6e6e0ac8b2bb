UPDATE `operations`
SET `leased_until` = ?, `updated_at` = ?
WHERE (((`operations`.`id` = ?)
  AND (`operations`.`state` = ?))
  AND (`operations`.`node` = ?))
RETURNING `id`, `organization_id`, `organization`, `kind`, `webhook_id`, `through`, `actor`, `state`,
    `error`, `at_webhook`, `at_node`, `at_due`, `at_delivery`, `found`, `done`, `total`, `node`,
    `leased_until`, `created_at`, `updated_at`, `ended_at`, `begun_at`
-- SEARCH operations USING INTEGER PRIMARY KEY (rowid=?)

SELECT `pending_deliveries`.`delivery_id`
FROM `pending_deliveries`
WHERE ((`pending_deliveries`.`webhook_id` = ?)
  AND (`pending_deliveries`.`ordering_key` IS NOT NULL))
LIMIT ?
-- SEARCH pending_deliveries USING COVERING INDEX pending_deliveries_order (webhook_id=? AND ordering_key>?)

UPDATE `pending_deliveries`
SET `due_at` = ?
WHERE ((`pending_deliveries`.`delivery_id` IN (?, ...))
  AND (`pending_deliveries`.`due_at` >= ?))
-- SEARCH pending_deliveries USING INTEGER PRIMARY KEY (rowid=?)

UPDATE `pending_deliveries`
SET `ordering_key` = ?, `position` = ?
WHERE (`pending_deliveries`.`delivery_id` IN (?, ...))
-- SEARCH pending_deliveries USING INTEGER PRIMARY KEY (rowid=?)

UPDATE `operations`
SET `at_webhook` = ?, `at_node` = ?, `at_due` = ?, `at_delivery` = ?, `found` = ?, `done` = ?
WHERE (`operations`.`id` = ?)
-- SEARCH operations USING INTEGER PRIMARY KEY (rowid=?)
