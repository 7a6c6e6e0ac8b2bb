SELECT "audit_log"."id"
FROM "audit_log"
WHERE ("audit_log"."id" < $1)
ORDER BY "audit_log"."id"
LIMIT $2 OFFSET $3

DELETE
FROM "audit_log"
WHERE ("audit_log"."id" < $1)
