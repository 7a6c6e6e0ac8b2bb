SELECT "tokens"."id", "tokens"."name"
FROM "tokens"
WHERE ("tokens"."id" = ANY($1))
