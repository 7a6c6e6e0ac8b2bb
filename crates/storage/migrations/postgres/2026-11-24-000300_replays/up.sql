-- An event that was replayed has another row for it, with the deliveries that the replay made.
ALTER TABLE events ADD COLUMN replay_of BIGINT;
-- From an event to the rows of its replays.
CREATE TABLE event_replays (
    event_id BIGINT NOT NULL,
    replay_id BIGINT NOT NULL, -- the id of the replay's row in events
    PRIMARY KEY (event_id, replay_id)
);
CREATE INDEX event_replays_replay ON event_replays (replay_id);

-- Replays of many deliveries, under way or ended.
CREATE TABLE replays (
    id BIGINT NOT NULL PRIMARY KEY,
    organization_id BIGINT NOT NULL,
    request_id TEXT,
    spec TEXT NOT NULL, -- JSON: what was asked for
    state INTEGER NOT NULL, -- 0 running, 1 succeeded, 2 cancelled, 3 failed
    error TEXT,
    first_id BIGINT NOT NULL, -- events from this id
    last_id BIGINT NOT NULL, -- up to this one
    cursor BIGINT NOT NULL, -- done up to this one
    examined BIGINT NOT NULL,
    matched BIGINT NOT NULL,
    replayed BIGINT NOT NULL,
    skipped BIGINT NOT NULL,
    node INTEGER NOT NULL, -- who works on it
    leased_until BIGINT NOT NULL, -- until when nobody else does
    created_at BIGINT NOT NULL,
    ended_at BIGINT
);
CREATE INDEX replays_organization ON replays (organization_id, id);
CREATE INDEX replays_running ON replays (id) WHERE state = 0;
CREATE UNIQUE INDEX replays_request ON replays (organization_id, request_id) WHERE request_id IS NOT NULL;
