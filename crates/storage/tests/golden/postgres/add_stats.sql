SELECT "delivery_stats"."subject_id", "delivery_stats"."period", "delivery_stats"."started_at",
    "delivery_stats"."attempts", "delivery_stats"."failed_attempts", "delivery_stats"."delivered",
    "delivery_stats"."failed", "delivery_stats"."durations", "delivery_stats"."latencies"
FROM "delivery_stats"
WHERE (((("delivery_stats"."subject_id" = ANY($1))
  AND ("delivery_stats"."period" = ANY($2)))
  AND ("delivery_stats"."started_at" = ANY($3)))
  AND ("delivery_stats"."node" = $4))

INSERT INTO delivery_stats (subject_id, period, started_at, node, attempts, failed_attempts, delivered,
    failed, durations, latencies) SELECT *
FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (subject_id, period, started_at, node) DO UPDATE
SET attempts = excluded.attempts, failed_attempts = excluded.failed_attempts, delivered = excluded.delivered,
    failed = excluded.failed, durations = excluded.durations, latencies = excluded.latencies
