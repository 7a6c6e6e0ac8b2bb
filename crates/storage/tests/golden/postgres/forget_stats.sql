SELECT min("delivery_stats"."started_at")
FROM "delivery_stats"
WHERE ("delivery_stats"."period" = $1)
LIMIT $2

DELETE
FROM "delivery_stats"
WHERE (("delivery_stats"."period" = $1)
  AND ("delivery_stats"."started_at" = $2))
