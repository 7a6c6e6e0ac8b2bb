SELECT checkpoint AS number
FROM nodes
WHERE number = $1
  AND state = 3 FOR UPDATE SKIP LOCKED

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

WITH RECURSIVE w AS ( (SELECT p.webhook_id, p.node, p.due_at
FROM pending_deliveries p
WHERE (p.webhook_id, p.node) > ($1, $2)
ORDER BY p.webhook_id, p.node, p.due_at
LIMIT 1)
UNION ALL SELECT n.webhook_id, n.node, n.due_at
FROM w CROSS JOIN LATERAL ( SELECT p.webhook_id, p.node, p.due_at
FROM pending_deliveries p
WHERE (p.webhook_id, p.node) > (w.webhook_id, w.node)
ORDER BY p.webhook_id, p.node, p.due_at
LIMIT 1) AS n) SELECT webhook_id, node, due_at
FROM w
LIMIT $3

DELETE
FROM webhook_owners
WHERE node = $1

UPDATE nodes
SET state = 0
WHERE number = $1
