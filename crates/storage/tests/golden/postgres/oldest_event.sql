SELECT "events"."id"
FROM "events"
WHERE ("events"."id" > $1)
ORDER BY "events"."id"
LIMIT $2
