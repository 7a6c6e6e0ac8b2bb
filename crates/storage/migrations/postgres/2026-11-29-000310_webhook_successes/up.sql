-- When an attempt to a webhook last succeeded, at whichever node. A node stores a success when the last one that it stored is old: see
-- hookwright-delivery's `health`.
CREATE TABLE webhook_successes (
    webhook_id BIGINT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL
) WITH (fillfactor = 80);
