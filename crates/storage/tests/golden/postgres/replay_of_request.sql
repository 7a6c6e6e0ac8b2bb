SELECT "replays"."id", "replays"."organization_id", "replays"."request_id", "replays"."spec",
    "replays"."state", "replays"."error", "replays"."first_id", "replays"."last_id", "replays"."cursor",
    "replays"."examined", "replays"."matched", "replays"."replayed", "replays"."skipped", "replays"."node",
    "replays"."leased_until", "replays"."created_at", "replays"."ended_at"
FROM "replays"
WHERE (("replays"."organization_id" = $1)
  AND ("replays"."request_id" = $2))
LIMIT $3
