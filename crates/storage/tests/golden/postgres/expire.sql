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

WITH step AS MATERIALIZED ( SELECT id, organization_id, request_id, replay_of
FROM events_DAY
WHERE id > $1
ORDER BY id
LIMIT 2000 ), keys AS ( DELETE
FROM idempotency_keys k USING step s
WHERE k.organization_id = s.organization_id
  AND k.request_id = s.request_id
  AND k.event_id = s.id ), replays AS ( DELETE
FROM event_replays r USING step s
WHERE r.replay_id = s.id
  AND s.replay_of IS NOT NULL ) UPDATE partitions
SET cleared_to = coalesce((SELECT max(id)
FROM step), end_id)
WHERE end_id = $2
