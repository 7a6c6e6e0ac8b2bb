UPDATE "operations"
SET "state" = $1, "error" = $2, "ended_at" = $3
WHERE (((("operations"."organization_id" = $4)
  AND ("operations"."state" = $5))
  AND ("operations"."webhook_id" = $6))
  AND ("operations"."kind" = $7))
