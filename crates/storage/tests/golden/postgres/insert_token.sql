INSERT INTO "tokens" ("id", "hash", "name", "scope", "organization_id", "created_at", "expires_at",
    "revoked_at")
VALUES ($1, $2, $3, $4, $5, $6, DEFAULT, DEFAULT)

INSERT INTO "audit_log" ("id", "at", "actor", "action", "resource", "details", "organization_id")
VALUES ($1, $2, $3, $4, $5, $6, $7)
