DELETE
FROM "signing_secrets"
WHERE (("signing_secrets"."webhook_id" = $1)
  AND ("signing_secrets"."expires_at" IS NOT NULL))

UPDATE "signing_secrets"
SET "expires_at" = $1
WHERE ("signing_secrets"."webhook_id" = $2)

INSERT INTO "signing_secrets" ("id", "webhook_id", "sealed", "created_at", "expires_at")
VALUES ($1, $2, $3, $4, DEFAULT)

INSERT INTO "audit_log" ("id", "at", "actor", "action", "resource", "details", "organization_id")
VALUES ($1, $2, $3, $4, $5, $6, $7)
