SELECT "delivery_stats"."subject_id", "delivery_stats"."attempts", "delivery_stats"."failed_attempts",
    "delivery_stats"."delivered", "delivery_stats"."failed", "delivery_stats"."durations",
    "delivery_stats"."latencies"
FROM "delivery_stats"
WHERE (((("delivery_stats"."subject_id" = ANY($1))
  AND ("delivery_stats"."period" = $2))
  AND ("delivery_stats"."started_at" >= $3))
  AND ("delivery_stats"."started_at" < $4))
