SELECT checkpoint AS number
FROM nodes
WHERE number = $1
  AND state = 3 FOR NO KEY UPDATE SKIP LOCKED

SELECT "events"."id"
FROM "events"
WHERE (("events"."id" > $1)
  AND ("events"."id" <= $2))
ORDER BY "events"."id"
LIMIT $3

SELECT "events"."id", "events"."organization_id", "events"."webhooks", CAST(length(payload) AS BIGINT)
FROM "events"
WHERE ("events"."id" = ANY($1))
ORDER BY "events"."id"
