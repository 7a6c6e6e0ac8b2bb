SELECT `organizations`.`id`, `organizations`.`name`, `organizations`.`display_name`,
    `organizations`.`created_at`, `organizations`.`updated_at`, `organizations`.`deleted_at`
FROM `organizations`
WHERE (`organizations`.`deleted_at` IS NULL)
-- SCAN organizations USING INDEX organizations_name

SELECT `event_types`.`id`, `event_types`.`name`, `event_types`.`description`, `event_types`.`json_schema`,
    `event_types`.`schema_mode`, `event_types`.`schema_version`, `event_types`.`example`,
    `event_types`.`archived`, `event_types`.`created_at`, `event_types`.`updated_at`,
    `event_types`.`visible_to`
FROM `event_types`
-- SCAN event_types

SELECT `webhooks`.`id`, `webhooks`.`organization_id`, `webhooks`.`payload_url`, `webhooks`.`pull`,
    `webhooks`.`events`, `webhooks`.`filter`, `webhooks`.`active`, `webhooks`.`disabled_reason`,
    `webhooks`.`disabled_at`, `webhooks`.`description`, `webhooks`.`headers`, `webhooks`.`timeout_ms`,
    `webhooks`.`retry_delays_ms`, `webhooks`.`rate_limit`, `webhooks`.`ordered`, `webhooks`.`pauses`,
    `webhooks`.`insecure_skip_verify`, `webhooks`.`ed25519`, `webhooks`.`version`, `webhooks`.`created_at`,
    `webhooks`.`updated_at`, `webhooks`.`deleted_at`
FROM `webhooks`
WHERE (`webhooks`.`deleted_at` IS NULL)
-- SCAN webhooks USING INDEX webhooks_organization

SELECT `signing_secrets`.`id`, `signing_secrets`.`webhook_id`, `signing_secrets`.`sealed`,
    `signing_secrets`.`created_at`, `signing_secrets`.`expires_at`
FROM `signing_secrets`
-- SCAN signing_secrets

SELECT `tokens`.`id`, `tokens`.`hash`, `tokens`.`name`, `tokens`.`scope`, `tokens`.`organization_id`,
    `tokens`.`created_at`, `tokens`.`expires_at`, `tokens`.`revoked_at`
FROM `tokens`
-- SCAN tokens

SELECT `ended_sessions`.`id`, `ended_sessions`.`token_id`, `ended_sessions`.`began_at`,
    `ended_sessions`.`ended_until`, `ended_sessions`.`and_earlier`
FROM `ended_sessions`
-- SCAN ended_sessions

SELECT `revoked_portal_links`.`link_id`, `revoked_portal_links`.`organization_id`,
    `revoked_portal_links`.`revoked_until`
FROM `revoked_portal_links`
-- SCAN revoked_portal_links

SELECT `operations`.`id`, `operations`.`organization_id`, `operations`.`organization`, `operations`.`kind`,
    `operations`.`webhook_id`, `operations`.`through`, `operations`.`actor`, `operations`.`state`,
    `operations`.`error`, `operations`.`at_webhook`, `operations`.`at_node`, `operations`.`at_due`,
    `operations`.`at_delivery`, `operations`.`found`, `operations`.`done`, `operations`.`total`,
    `operations`.`node`, `operations`.`leased_until`, `operations`.`created_at`, `operations`.`updated_at`,
    `operations`.`ended_at`, `operations`.`begun_at`
FROM `operations`
WHERE ((`operations`.`state` = ?)
  AND (`operations`.`kind` = ?))
-- SCAN operations
