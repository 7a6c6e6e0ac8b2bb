SELECT "settings"."value"
FROM "settings"
WHERE ("settings"."key" = $1)
LIMIT $2
