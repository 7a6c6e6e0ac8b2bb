SELECT "delivery_changes"."stream"
FROM "delivery_changes"
WHERE ("delivery_changes"."stream" > $1)
ORDER BY "delivery_changes"."stream"
LIMIT $2

SELECT max("delivery_changes"."position")
FROM "delivery_changes"
WHERE ("delivery_changes"."stream" = $1)
LIMIT $2

SELECT "delivery_changes"."position"
FROM "delivery_changes"
WHERE ("delivery_changes"."stream" = $1)
ORDER BY "delivery_changes"."position"
LIMIT $2 OFFSET $3

DELETE
FROM "delivery_changes"
WHERE (("delivery_changes"."stream" = $1)
  AND ("delivery_changes"."position" < $2))
