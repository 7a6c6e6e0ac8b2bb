SELECT "audit_log"."id", "audit_log"."at", "audit_log"."actor", "audit_log"."action", "audit_log"."resource",
    "audit_log"."details", "audit_log"."organization_id", "organizations"."name"
FROM ("audit_log"
LEFT OUTER JOIN "organizations" ON ("audit_log"."organization_id" = "organizations"."id"))
WHERE (("audit_log"."id" < $1)
  AND ("audit_log"."organization_id" = $2))
ORDER BY "audit_log"."id" DESC
LIMIT $3
