SELECT "webhooks"."organization_id", "webhooks"."deleted_at"
FROM "webhooks"
WHERE ("webhooks"."id" = $1)
LIMIT $2

SELECT "operations"."webhook_id"
FROM "operations"
WHERE (("operations"."organization_id" = $1)
  AND ("operations"."state" = $2))
