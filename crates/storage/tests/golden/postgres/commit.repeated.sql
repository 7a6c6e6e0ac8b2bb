SELECT pg_advisory_xact_lock(l # (CASE current_schema() WHEN 'public' THEN 0 ELSE hashtextextended(current_schema()::text,
    0) END))
FROM unnest($1) AS l

INSERT INTO webhook_owners AS o (webhook_id, node) SELECT w, $2
FROM unnest($1) AS w
ON CONFLICT (webhook_id) DO UPDATE
SET node = excluded.node
WHERE o.node <> excluded.node
  AND NOT EXISTS (SELECT 1
FROM nodes n
WHERE n.number = o.node
  AND n.state = 1)

SELECT o.webhook_id, o.node
FROM webhook_owners o JOIN nodes n ON n.number = o.node
  AND n.state <> 0
WHERE o.webhook_id = ANY($1) FOR KEY SHARE OF n

INSERT INTO idempotency_keys (organization_id, request_id, event_id, fingerprint, created_at) SELECT *
FROM unnest($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING

SELECT k.organization_id, k.request_id, k.event_id, k.fingerprint, COALESCE(length(e.webhooks), 0)
FROM unnest($1, $2) AS wanted (organization_id, request_id) JOIN idempotency_keys k USING (organization_id,
    request_id)
LEFT JOIN events e ON e.id = k.event_id

INSERT INTO events (id, organization_id, event_type, payload, webhooks, occurred_at, attributes, trace,
    tracestate, request_id, ordering_key, replay_of) SELECT *
FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)

INSERT INTO "event_replays" ("event_id", "replay_id")
VALUES ($1, $2)

SELECT w.webhook_id, w.ordering_key
FROM (SELECT DISTINCT *
FROM unnest($1, $2) AS u (webhook_id, ordering_key)) AS w
WHERE EXISTS (SELECT 1
FROM pending_deliveries d
WHERE d.webhook_id = w.webhook_id
  AND d.ordering_key = w.ordering_key)

INSERT INTO pending_deliveries (delivery_id, event_id, organization_id, webhook_id, due_at, attempts, node,
    ordering_key, position) SELECT u.*,
    CASE WHEN u.ordering_key IS NOT NULL THEN nextval('pending_positions') END
FROM unnest($1, $2, $3, $4, $5, $6, $7, $8) AS u (delivery_id, event_id, organization_id, webhook_id, due_at,
    attempts, node, ordering_key)
ON CONFLICT (delivery_id) DO UPDATE
SET due_at = excluded.due_at, attempts = excluded.attempts

INSERT INTO attempts (delivery_id, number, event_id, organization_id, webhook_id, started_at, duration_us,
    status, error_class, error_message, delivery_state, details, response_body) SELECT *
FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
ON CONFLICT DO NOTHING

UPDATE pending_deliveries d
SET due_at = u.due_at, attempts = u.attempts
FROM unnest($1, $2, $3) AS u (delivery_id, due_at, attempts)
WHERE d.delivery_id = u.delivery_id

SELECT "delivery_endings"."delivery_id"
FROM "delivery_endings"
WHERE ("delivery_endings"."delivery_id" = ANY($1))

DELETE
FROM pending_deliveries
WHERE delivery_id = ANY($1)

UPDATE pending_deliveries d
SET due_at = k.now, node = k.node
FROM unnest($1, $2, $3, $4, $5) AS k (webhook_id, ordering_key, now, node,
    follows) CROSS JOIN LATERAL ( SELECT p.delivery_id, p.due_at
FROM pending_deliveries p
WHERE p.webhook_id = k.webhook_id
  AND p.ordering_key = k.ordering_key
ORDER BY p.position
LIMIT 1) AS first
WHERE d.delivery_id = first.delivery_id
  AND first.due_at = k.follows
RETURNING d.webhook_id

INSERT INTO delivery_endings (delivery_id, event_id, organization_id, webhook_id, state, reason,
    ended_at) SELECT *
FROM unnest($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT DO NOTHING

DELETE
FROM webhook_health h USING (SELECT f.webhook_id
FROM unnest($1, $2) AS u (webhook_id, at) JOIN webhook_health f ON f.webhook_id = u.webhook_id
  AND f.failing_since <= u.at
ORDER BY f.webhook_id FOR UPDATE OF f) AS recovered
WHERE h.webhook_id = recovered.webhook_id

INSERT INTO webhook_successes (webhook_id, at) SELECT *
FROM unnest($1, $2)
ON CONFLICT (webhook_id) DO UPDATE
SET at = greatest(webhook_successes.at, excluded.at)

INSERT INTO webhook_health AS h (webhook_id, failing_since, failures) SELECT *
FROM unnest($1, $2, $3)
ON CONFLICT (webhook_id) DO UPDATE
SET failing_since = least(h.failing_since, excluded.failing_since),
    failures = least(h.failures::bigint + excluded.failures, 2147483647)::integer
RETURNING webhook_id, failing_since, failures

INSERT INTO delivery_changes (stream, position, deliveries) SELECT u.stream, greatest(u.now,
    1 + (SELECT max(c.position)
FROM delivery_changes c
WHERE c.stream = u.stream)), u.deliveries
FROM unnest($1, $2, $3) AS u (stream, now, deliveries)

UPDATE nodes
SET checkpoint = greatest(checkpoint, $2)
WHERE number = $1
