DELETE
FROM "signing_secrets"
WHERE (("signing_secrets"."webhook_id" = $1)
  AND ("signing_secrets"."expires_at" IS NOT NULL))

INSERT INTO "audit_log" ("id", "at", "actor", "action", "resource", "details", "organization_id")
VALUES ($1, $2, $3, $4, $5, $6, $7)
