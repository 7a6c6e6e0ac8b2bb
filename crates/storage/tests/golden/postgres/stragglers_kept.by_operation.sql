SELECT "webhooks"."organization_id", "webhooks"."deleted_at"
FROM "webhooks"
WHERE ("webhooks"."id" = $1)
LIMIT $2
