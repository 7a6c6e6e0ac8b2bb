SELECT "replays"."id"
FROM "replays"
WHERE ("replays"."ended_at" < $1)
ORDER BY "replays"."id"
LIMIT $2

DELETE
FROM "replays"
WHERE ("replays"."id" = ANY($1))
