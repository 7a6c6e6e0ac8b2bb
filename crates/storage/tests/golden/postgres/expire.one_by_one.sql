SELECT to_char(day, 'YYYYMMDD') AS name, end_id, cleared_to, sparse, pending
FROM partitions p, LATERAL ( SELECT EXISTS (SELECT 1
FROM pending_deliveries d
WHERE d.delivery_id >= p.first_id
  AND d.delivery_id < p.end_id) AS pending) waits
WHERE end_id <= $1
  AND end_id - 1 > $2
ORDER BY $2 = 0
  AND pending, end_id
LIMIT 1

SELECT "events"."id"
FROM "events"
WHERE (("events"."id" > $1)
  AND ("events"."id" < $2))
ORDER BY "events"."id"
LIMIT $3

SELECT DISTINCT "pending_deliveries"."event_id"
FROM "pending_deliveries"
WHERE ("pending_deliveries"."delivery_id" BETWEEN $1 AND $2)
ORDER BY "pending_deliveries"."event_id"
