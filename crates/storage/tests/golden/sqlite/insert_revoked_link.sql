DELETE
FROM `revoked_portal_links`
WHERE (`revoked_portal_links`.`revoked_until` <= ?)
-- SCAN revoked_portal_links

SELECT COUNT(*)
FROM `revoked_portal_links`
WHERE (`revoked_portal_links`.`organization_id` = ?)
-- SEARCH revoked_portal_links USING COVERING INDEX sqlite_autoindex_revoked_portal_links_1 (organization_id=?)

INSERT INTO `revoked_portal_links` (`link_id`, `organization_id`, `revoked_until`)
VALUES (?, ?, ?)
ON CONFLICT DO NOTHING

INSERT INTO `audit_log` (`id`, `at`, `actor`, `action`, `resource`, `details`, `organization_id`)
VALUES (?, ?, ?, ?, ?, ?, ?)
