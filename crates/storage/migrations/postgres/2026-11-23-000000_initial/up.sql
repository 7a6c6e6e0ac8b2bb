-- Times are microseconds since the Unix epoch. Ids hold their time: see hookwright-domain's `id`.

CREATE TABLE organizations (
    id BIGINT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    display_name TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT
);
-- A deleted organization's name can be used again.
CREATE UNIQUE INDEX organizations_name ON organizations (name) WHERE deleted_at IS NULL;

CREATE TABLE event_types (
    id BIGINT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL,
    json_schema TEXT,
    example TEXT,
    archived BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE webhooks (
    id BIGINT NOT NULL PRIMARY KEY,
    organization_id BIGINT NOT NULL REFERENCES organizations (id),
    payload_url TEXT NOT NULL,
    events TEXT NOT NULL, -- JSON array of names, or ["*"]
    active BOOLEAN NOT NULL,
    disabled_reason TEXT,
    disabled_at BIGINT,
    description TEXT NOT NULL,
    headers BYTEA NOT NULL, -- sealed JSON array of pairs; empty for none
    timeout_ms BIGINT NOT NULL,
    retry_delays_ms TEXT, -- JSON array; NULL for the installation's schedule
    rate_limit DOUBLE PRECISION,
    ordered BOOLEAN NOT NULL,
    pauses BOOLEAN NOT NULL, -- whether an ordered delivery that fails for good holds up its key
    insecure_skip_verify BOOLEAN NOT NULL,
    ed25519 BYTEA, -- sealed
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT
);
CREATE INDEX webhooks_organization ON webhooks (organization_id) WHERE deleted_at IS NULL;

CREATE TABLE signing_secrets (
    id BIGINT NOT NULL PRIMARY KEY,
    webhook_id BIGINT NOT NULL REFERENCES webhooks (id),
    sealed BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT -- NULL for the newest; the end of the overlap for the one before
);
CREATE INDEX signing_secrets_webhook ON signing_secrets (webhook_id);

-- The hot tables have no foreign keys: what they point at is checked in memory, and configuration is never removed.

-- The three tables that grow are partitioned by day, by the time in their ids: what has outlived its retention is dropped a
-- day at a time, and its space comes back. The server makes the partitions, and keeps this list of them.
CREATE TABLE partitions (
    day DATE NOT NULL PRIMARY KEY,
    first_id BIGINT NOT NULL,
    end_id BIGINT NOT NULL -- the first id after it
);

-- One row an event, with the webhooks that it is owed to. A delivery's id is the event's id + 1 + its place in the list;
-- while all goes well it has no row of its own.
CREATE TABLE events (
    id BIGINT NOT NULL PRIMARY KEY,
    organization_id BIGINT NOT NULL,
    event_type TEXT NOT NULL,
    payload BYTEA NOT NULL,
    webhooks BYTEA NOT NULL, -- 8 bytes each, little-endian
    occurred_at BIGINT NOT NULL,
    attributes TEXT,
    trace BYTEA, -- trace id (16), span id (8), flags (1)
    tracestate TEXT,
    request_id TEXT, -- the publisher's, so that its key goes when the event does
    ordering_key TEXT
) PARTITION BY RANGE (id);
CREATE INDEX events_organization ON events (organization_id, id);

-- One row an attempt, appended when it has ended.
CREATE TABLE attempts (
    delivery_id BIGINT NOT NULL,
    number INTEGER NOT NULL,
    event_id BIGINT NOT NULL,
    organization_id BIGINT NOT NULL,
    webhook_id BIGINT NOT NULL,
    started_at BIGINT NOT NULL,
    duration_us BIGINT NOT NULL,
    status INTEGER,
    error_class TEXT,
    error_message TEXT,
    delivery_state INTEGER NOT NULL, -- what the attempt made of the delivery: 0 it goes on, 1 delivered, 2 failed
    details TEXT NOT NULL, -- JSON
    response_body BYTEA,
    PRIMARY KEY (delivery_id, number)
) PARTITION BY RANGE (delivery_id);

CREATE SEQUENCE pending_positions;

-- Only what must wait has a row here: retries, and what found no place in memory.
CREATE TABLE pending_deliveries (
    delivery_id BIGINT NOT NULL PRIMARY KEY,
    event_id BIGINT NOT NULL,
    organization_id BIGINT NOT NULL,
    webhook_id BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    attempts INTEGER NOT NULL,
    node INTEGER NOT NULL DEFAULT 0, -- the node that owns it
    ordering_key TEXT, -- NULL for a delivery that is not ordered
    position BIGINT -- of an ordered delivery: the order of commits within its key
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, fillfactor = 80);
CREATE INDEX pending_deliveries_due ON pending_deliveries (webhook_id, node, due_at, delivery_id);
CREATE INDEX pending_deliveries_order ON pending_deliveries (webhook_id, ordering_key, position) WHERE ordering_key IS NOT NULL;

-- Deliveries that ended without an attempt's doing.
CREATE TABLE delivery_endings (
    delivery_id BIGINT NOT NULL PRIMARY KEY,
    event_id BIGINT NOT NULL,
    organization_id BIGINT NOT NULL,
    webhook_id BIGINT NOT NULL,
    state INTEGER NOT NULL, -- 3 cancelled
    reason TEXT NOT NULL,
    ended_at BIGINT NOT NULL
) PARTITION BY RANGE (delivery_id);

CREATE TABLE idempotency_keys (
    organization_id BIGINT NOT NULL,
    request_id TEXT NOT NULL,
    event_id BIGINT NOT NULL,
    fingerprint BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (organization_id, request_id)
);

-- Webhooks that have failed since their last success.
CREATE TABLE webhook_health (
    webhook_id BIGINT NOT NULL PRIMARY KEY,
    failing_since BIGINT NOT NULL,
    failures INTEGER NOT NULL
);

CREATE TABLE tokens (
    id BIGINT NOT NULL PRIMARY KEY,
    hash BYTEA NOT NULL UNIQUE, -- SHA-256 of the token
    name TEXT NOT NULL,
    scope TEXT NOT NULL,
    organization_id BIGINT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT
);

CREATE TABLE audit_log (
    id BIGINT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    resource TEXT NOT NULL,
    details TEXT NOT NULL
);

CREATE TABLE settings (
    key TEXT NOT NULL PRIMARY KEY,
    value BYTEA NOT NULL
);

-- The servers that share this database. What a node accepted is its own: events by the number in their ids, pending
-- deliveries by their column. Times are the database's.
CREATE TABLE nodes (
    number INTEGER NOT NULL PRIMARY KEY CHECK (number BETWEEN 0 AND 1023),
    epoch BIGINT NOT NULL, -- grows whenever the number changes hands
    name TEXT NOT NULL,
    state INTEGER NOT NULL, -- 0 free, 1 serving, 2 draining, 3 lost: the others adopt what it owned
    version TEXT NOT NULL,
    grpc_address TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    heartbeat_at BIGINT NOT NULL,
    lease_until BIGINT NOT NULL,
    checkpoint BIGINT NOT NULL, -- nothing of its events at or below this id is owed without a row that says so
    configuration BIGINT NOT NULL, -- the version that it has in force
    oldest_due_at BIGINT,
    deliveries_in_memory BIGINT NOT NULL,
    attempts_under_way BIGINT NOT NULL
) WITH (fillfactor = 50);

-- One row: how often the configuration has changed.
CREATE TABLE configuration (
    version BIGINT NOT NULL
);
INSERT INTO configuration (version) VALUES (0);

-- Which node sends to a webhook that one node alone may send to: those with a rate limit.
CREATE TABLE webhook_owners (
    webhook_id BIGINT NOT NULL PRIMARY KEY,
    node INTEGER NOT NULL
);
