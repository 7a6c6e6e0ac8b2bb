SELECT "events"."id", "events"."webhooks"
FROM "events"
ORDER BY "events"."id" DESC
LIMIT $1

SELECT max("organizations"."id")
FROM "organizations"
LIMIT $1

SELECT max("event_types"."id")
FROM "event_types"
LIMIT $1

SELECT max("webhooks"."id")
FROM "webhooks"
LIMIT $1

SELECT max("signing_secrets"."id")
FROM "signing_secrets"
LIMIT $1

SELECT max("tokens"."id")
FROM "tokens"
LIMIT $1

SELECT max("audit_log"."id")
FROM "audit_log"
LIMIT $1

SELECT max("operations"."id")
FROM "operations"
LIMIT $1
