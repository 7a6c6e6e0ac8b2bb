DELETE
FROM "revoked_portal_links"
WHERE ("revoked_portal_links"."revoked_until" <= $1)

SELECT COUNT(*)
FROM "revoked_portal_links"
WHERE ("revoked_portal_links"."organization_id" = $1)

INSERT INTO "revoked_portal_links" ("link_id", "organization_id", "revoked_until")
VALUES ($1, $2, $3)
ON CONFLICT DO NOTHING

INSERT INTO "audit_log" ("id", "at", "actor", "action", "resource", "details", "organization_id")
VALUES ($1, $2, $3, $4, $5, $6, $7)
