SELECT `events`.`id`, `events`.`webhooks`
FROM `events`
ORDER BY `events`.`id` DESC
LIMIT ?
-- SCAN events

SELECT max(`organizations`.`id`)
FROM `organizations`
LIMIT ?
-- SEARCH organizations

SELECT max(`event_types`.`id`)
FROM `event_types`
LIMIT ?
-- SEARCH event_types

SELECT max(`webhooks`.`id`)
FROM `webhooks`
LIMIT ?
-- SEARCH webhooks

SELECT max(`signing_secrets`.`id`)
FROM `signing_secrets`
LIMIT ?
-- SEARCH signing_secrets

SELECT max(`tokens`.`id`)
FROM `tokens`
LIMIT ?
-- SEARCH tokens

SELECT max(`audit_log`.`id`)
FROM `audit_log`
LIMIT ?
-- SEARCH audit_log

SELECT max(`operations`.`id`)
FROM `operations`
LIMIT ?
-- SEARCH operations
