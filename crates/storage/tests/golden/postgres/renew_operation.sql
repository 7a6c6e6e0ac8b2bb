UPDATE "operations"
SET "leased_until" = $1
WHERE ((("operations"."id" = $2)
  AND ("operations"."state" = $3))
  AND ("operations"."node" = $4))
