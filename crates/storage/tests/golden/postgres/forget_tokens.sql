SELECT "tokens"."id"
FROM "tokens"
WHERE (("tokens"."revoked_at" < $1) OR ("tokens"."expires_at" < $2))
ORDER BY "tokens"."id"
LIMIT $3

DELETE
FROM "tokens"
WHERE ("tokens"."id" = ANY($1))
