SELECT max("delivery_changes"."position")
FROM "delivery_changes"
WHERE ("delivery_changes"."stream" = $1)
LIMIT $2

INSERT INTO "delivery_changes" ("stream", "position", "deliveries")
VALUES ($1, $2, $3)
