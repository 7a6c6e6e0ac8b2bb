SELECT COUNT(*)
FROM "tokens"
WHERE ((("tokens"."revoked_at" IS NULL)
  AND (("tokens"."expires_at" IS NULL) OR ("tokens"."expires_at" > $1)))
  AND ("tokens"."organization_id" = $2))
