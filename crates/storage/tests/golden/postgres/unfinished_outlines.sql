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

SELECT "pending_deliveries"."delivery_id"
FROM "pending_deliveries"
WHERE ("pending_deliveries"."delivery_id" = ANY($1))

SELECT "attempts"."delivery_id"
FROM "attempts"
WHERE (("attempts"."delivery_id" BETWEEN $1 AND $2)
  AND ("attempts"."delivery_id" = ANY($3)))

SELECT "delivery_endings"."delivery_id"
FROM "delivery_endings"
WHERE (("delivery_endings"."delivery_id" BETWEEN $1 AND $2)
  AND ("delivery_endings"."delivery_id" = ANY($3)))
