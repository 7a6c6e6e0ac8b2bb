SELECT "events"."id"
FROM "events"
WHERE ("events"."id" = ANY($1))
