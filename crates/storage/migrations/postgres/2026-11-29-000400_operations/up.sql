-- Work that is too long for the call that asked for it, running or ended: see the module `operations`.
CREATE TABLE operations (
    id BIGINT NOT NULL PRIMARY KEY,
    organization_id BIGINT NOT NULL,
    organization TEXT NOT NULL, -- its name when the work was asked for: it may be deleted
    kind TEXT NOT NULL, -- discard_backlog, delete_webhook, delete_organization or release_order
    webhook_id BIGINT, -- NULL for all webhooks of the organization
    through BIGINT NOT NULL, -- it concerns deliveries up to this id
    actor TEXT NOT NULL, -- who asked
    state INTEGER NOT NULL, -- 0 running, 1 succeeded, 2 cancelled, 3 failed
    error TEXT,
    at_webhook BIGINT NOT NULL, -- the pass is done up to this webhook, node, due time and delivery
    at_node INTEGER NOT NULL,
    at_due BIGINT NOT NULL,
    at_delivery BIGINT NOT NULL,
    found BIGINT NOT NULL, -- deliveries that this pass found
    done BIGINT NOT NULL, -- deliveries that are done
    total BIGINT, -- deliveries that there were; NULL until they are counted
    node INTEGER NOT NULL, -- who works on it
    leased_until BIGINT NOT NULL, -- until when nobody else does, by the store's clock
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    ended_at BIGINT
);
CREATE INDEX operations_organization ON operations (organization_id, id);
CREATE INDEX operations_running ON operations (organization_id, id) WHERE state = 0;
CREATE INDEX operations_ended ON operations (ended_at) WHERE ended_at IS NOT NULL;
-- Deleting an organization goes through its webhooks, deleted ones too.
CREATE INDEX webhooks_owned ON webhooks (organization_id, id);
