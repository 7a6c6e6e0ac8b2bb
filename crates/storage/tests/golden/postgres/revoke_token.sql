SELECT "tokens"."id"
FROM "tokens"
WHERE (((("tokens"."scope" = $1)
  AND ("tokens"."organization_id" IS NULL))
  AND ("tokens"."revoked_at" IS NULL))
  AND (("tokens"."expires_at" IS NULL) OR ("tokens"."expires_at" > $2)))

UPDATE "tokens"
SET "revoked_at" = $1
WHERE (("tokens"."id" = $2)
  AND ("tokens"."revoked_at" IS NULL))

INSERT INTO "audit_log" ("id", "at", "actor", "action", "resource", "details", "organization_id")
VALUES ($1, $2, $3, $4, $5, $6, $7)
