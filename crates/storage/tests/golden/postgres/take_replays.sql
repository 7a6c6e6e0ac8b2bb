UPDATE "replays"
SET "node" = $1, "leased_until" = $2
WHERE (("replays"."state" = $3)
  AND (("replays"."leased_until" < $4) OR ("replays"."leased_until" > $5)))
RETURNING "replays"."id", "replays"."organization_id", "replays"."request_id", "replays"."spec",
    "replays"."state", "replays"."error", "replays"."first_id", "replays"."last_id", "replays"."cursor",
    "replays"."examined", "replays"."matched", "replays"."replayed", "replays"."skipped", "replays"."node",
    "replays"."leased_until", "replays"."created_at", "replays"."ended_at"
