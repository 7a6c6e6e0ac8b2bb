INSERT OR IGNORE INTO `idempotency_keys` (`organization_id`, `request_id`, `event_id`, `fingerprint`,
    `created_at`)
VALUES (?, ?, ?, ?, ?)

INSERT INTO `events` (`id`, `organization_id`, `event_type`, `payload`, `webhooks`, `occurred_at`,
    `attributes`, `trace`, `tracestate`, `request_id`, `ordering_key`, `replay_of`)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

INSERT INTO `event_replays` (`event_id`, `replay_id`)
VALUES (?, ?)

SELECT EXISTS (SELECT `pending_deliveries`.`delivery_id`, `pending_deliveries`.`event_id`,
    `pending_deliveries`.`organization_id`, `pending_deliveries`.`webhook_id`, `pending_deliveries`.`due_at`,
    `pending_deliveries`.`attempts`, `pending_deliveries`.`node`, `pending_deliveries`.`ordering_key`,
    `pending_deliveries`.`position`, `pending_deliveries`.`leased_at`
FROM `pending_deliveries`
WHERE ((`pending_deliveries`.`webhook_id` = ?)
  AND (`pending_deliveries`.`ordering_key` = ?)))
-- SCAN CONSTANT ROW
-- SCALAR SUBQUERY 1
-- SEARCH pending_deliveries USING INDEX pending_deliveries_order (webhook_id=? AND ordering_key=?)

INSERT INTO `pending_deliveries` (`delivery_id`, `event_id`, `organization_id`, `webhook_id`, `due_at`,
    `attempts`, `ordering_key`, `position`)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)

REPLACE INTO `pending_deliveries` (`delivery_id`, `event_id`, `organization_id`, `webhook_id`, `due_at`,
    `attempts`)
VALUES (?, ?, ?, ?, ?, ?)

SELECT `idempotency_keys`.`event_id`, `idempotency_keys`.`fingerprint`
FROM `idempotency_keys`
WHERE ((`idempotency_keys`.`organization_id` = ?)
  AND (`idempotency_keys`.`request_id` = ?))
LIMIT ?
-- SEARCH idempotency_keys USING PRIMARY KEY (organization_id=? AND request_id=?)

SELECT `events`.`webhooks`
FROM `events`
WHERE (`events`.`id` = ?)
LIMIT ?
-- SEARCH events USING INTEGER PRIMARY KEY (rowid=?)

INSERT OR IGNORE INTO `attempts` (`delivery_id`, `number`, `event_id`, `organization_id`, `webhook_id`,
    `started_at`, `duration_us`, `status`, `error_class`, `error_message`, `delivery_state`, `details`,
    `response_body`)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

UPDATE `pending_deliveries`
SET `due_at` = ?, `attempts` = ?
WHERE (`pending_deliveries`.`delivery_id` = ?)
-- SEARCH pending_deliveries USING INTEGER PRIMARY KEY (rowid=?)

SELECT EXISTS (SELECT `delivery_endings`.`delivery_id`, `delivery_endings`.`event_id`,
    `delivery_endings`.`organization_id`, `delivery_endings`.`webhook_id`, `delivery_endings`.`state`,
    `delivery_endings`.`reason`, `delivery_endings`.`ended_at`
FROM `delivery_endings`
WHERE (`delivery_endings`.`delivery_id` = ?))
-- SCAN CONSTANT ROW
-- SCALAR SUBQUERY 1
-- SEARCH delivery_endings USING INTEGER PRIMARY KEY (rowid=?)

DELETE
FROM `pending_deliveries`
WHERE (`pending_deliveries`.`delivery_id` = ?)
-- SEARCH pending_deliveries USING INTEGER PRIMARY KEY (rowid=?)

SELECT `pending_deliveries`.`delivery_id`, `pending_deliveries`.`due_at`
FROM `pending_deliveries`
WHERE ((`pending_deliveries`.`webhook_id` = ?)
  AND (`pending_deliveries`.`ordering_key` = ?))
ORDER BY `pending_deliveries`.`position`
LIMIT ?
-- SEARCH pending_deliveries USING INDEX pending_deliveries_order (webhook_id=? AND ordering_key=?)

UPDATE `pending_deliveries`
SET `due_at` = ?, `node` = ?
WHERE (`pending_deliveries`.`delivery_id` = ?)
-- SEARCH pending_deliveries USING INTEGER PRIMARY KEY (rowid=?)

INSERT OR IGNORE INTO `delivery_endings` (`delivery_id`, `event_id`, `organization_id`, `webhook_id`,
    `state`, `reason`, `ended_at`)
VALUES (?, ?, ?, ?, ?, ?, ?)

DELETE
FROM webhook_health
WHERE webhook_id IN ( SELECT h.webhook_id
FROM json_each(?) u CROSS JOIN webhook_health h
WHERE h.webhook_id = u.value ->> 0
  AND h.failing_since <= u.value ->> 1)
-- SEARCH webhook_health USING INTEGER PRIMARY KEY (rowid=?)
-- LIST SUBQUERY 1
-- SCAN u VIRTUAL TABLE INDEX 1:
-- SEARCH h USING INTEGER PRIMARY KEY (rowid=?)

INSERT INTO webhook_successes (webhook_id, at) SELECT value ->> 0, value ->> 1
FROM json_each(?)
WHERE true
ON CONFLICT (webhook_id) DO UPDATE
SET at = max(at, excluded.at)
-- SCAN json_each VIRTUAL TABLE INDEX 1:

INSERT INTO webhook_health (webhook_id, failing_since, failures) SELECT value ->> 0, value ->> 1, value ->> 2
FROM json_each(?)
WHERE true
ON CONFLICT (webhook_id) DO UPDATE
SET failing_since = min(failing_since, excluded.failing_since), failures = min(failures + excluded.failures,
    2147483647)
RETURNING webhook_id, failing_since, failures
-- SCAN json_each VIRTUAL TABLE INDEX 1:

SELECT max(`delivery_changes`.`position`)
FROM `delivery_changes`
WHERE (`delivery_changes`.`stream` = ?)
LIMIT ?
-- SEARCH delivery_changes USING PRIMARY KEY (stream=?)

INSERT INTO `delivery_changes` (`stream`, `position`, `deliveries`)
VALUES (?, ?, ?)

REPLACE INTO `settings` (`key`, `value`)
VALUES (?, ?)
