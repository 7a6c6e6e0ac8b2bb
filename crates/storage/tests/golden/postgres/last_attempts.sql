SELECT "attempts"."delivery_id", "attempts"."number", "attempts"."started_at", "attempts"."duration_us",
    "attempts"."status", "attempts"."error_class", "attempts"."delivery_state"
FROM "attempts"
WHERE ((("attempts"."delivery_id" = $1)
  AND ("attempts"."organization_id" = $2))
  AND ("attempts"."number" < $3))
ORDER BY "attempts"."number" DESC
LIMIT $4
