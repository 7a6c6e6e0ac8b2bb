SELECT "operations"."id"
FROM "operations"
WHERE ("operations"."ended_at" < $1)
ORDER BY "operations"."ended_at"
LIMIT $2

DELETE
FROM "operations"
WHERE ("operations"."id" = ANY($1))
