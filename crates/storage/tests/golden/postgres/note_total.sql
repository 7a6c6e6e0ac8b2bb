UPDATE "operations"
SET "total" = ("operations"."done" + $1), "leased_until" = $2
WHERE ((("operations"."id" = $3)
  AND ("operations"."state" = $4))
  AND ("operations"."node" = $5))
