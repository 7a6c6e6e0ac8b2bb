DELETE
FROM "ended_sessions"
WHERE ("ended_sessions"."ended_until" <= $1)

INSERT INTO "ended_sessions" ("id", "token_id", "began_at", "ended_until", "and_earlier")
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING

UPDATE "ended_sessions"
SET "and_earlier" = $1
WHERE (("ended_sessions"."token_id" = $2)
  AND ("ended_sessions"."began_at" = $3))

DELETE
FROM "ended_sessions"
WHERE (("ended_sessions"."token_id" = $1)
  AND ("ended_sessions"."began_at" < $2))
