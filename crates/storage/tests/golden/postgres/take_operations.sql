SELECT "operations"."id"
FROM "operations"
WHERE (("operations"."state" = $1)
  AND ((("operations"."leased_until" < $2) OR ("operations"."leased_until" > $3)) OR ("operations"."node" = $4)))
ORDER BY "operations"."id"
LIMIT $5

UPDATE "operations"
SET "node" = $1, "leased_until" = $2
WHERE ((("operations"."id" = ANY($3))
  AND ("operations"."state" = $4))
  AND ((("operations"."leased_until" < $5) OR ("operations"."leased_until" > $6)) OR ("operations"."node" = $7)))
RETURNING "operations"."id", "operations"."organization_id", "operations"."organization",
    "operations"."kind", "operations"."webhook_id", "operations"."through", "operations"."actor",
    "operations"."state", "operations"."error", "operations"."at_webhook", "operations"."at_node",
    "operations"."at_due", "operations"."at_delivery", "operations"."found", "operations"."done",
    "operations"."total", "operations"."node", "operations"."leased_until", "operations"."created_at",
    "operations"."updated_at", "operations"."ended_at", "operations"."begun_at"
