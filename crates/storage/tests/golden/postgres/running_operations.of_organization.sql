SELECT "operations"."id", "operations"."organization_id", "operations"."organization", "operations"."kind",
    "operations"."webhook_id", "operations"."through", "operations"."actor", "operations"."state",
    "operations"."error", "operations"."at_webhook", "operations"."at_node", "operations"."at_due",
    "operations"."at_delivery", "operations"."found", "operations"."done", "operations"."total",
    "operations"."node", "operations"."leased_until", "operations"."created_at", "operations"."updated_at",
    "operations"."ended_at", "operations"."begun_at"
FROM "operations"
WHERE (("operations"."state" = $1)
  AND ("operations"."organization_id" = $2))
ORDER BY "operations"."id"
LIMIT $3
