INSERT INTO "webhooks" ("id", "organization_id", "payload_url", "pull", "events", "filter", "active",
    "disabled_reason", "disabled_at", "description", "headers", "timeout_ms", "retry_delays_ms",
    "rate_limit", "ordered", "pauses", "insecure_skip_verify", "ed25519", "version", "created_at",
    "updated_at", "deleted_at")
VALUES ($1, $2, $3, $4, $5, $6, $7, DEFAULT, DEFAULT, $8, $9, $10, DEFAULT, DEFAULT, $11, $12, $13, DEFAULT,
    $14, $15, $16, DEFAULT)

INSERT INTO "signing_secrets" ("id", "webhook_id", "sealed", "created_at", "expires_at")
VALUES ($1, $2, $3, $4, DEFAULT)

INSERT INTO "audit_log" ("id", "at", "actor", "action", "resource", "details", "organization_id")
VALUES ($1, $2, $3, $4, $5, $6, $7)
