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
