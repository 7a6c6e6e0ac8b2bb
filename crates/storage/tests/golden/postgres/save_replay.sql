UPDATE "replays"
SET "cursor" = $1, "examined" = $2, "matched" = $3, "replayed" = $4, "skipped" = $5, "leased_until" = $6
WHERE ((("replays"."id" = $7)
  AND ("replays"."state" = $8))
  AND ("replays"."node" = $9))
