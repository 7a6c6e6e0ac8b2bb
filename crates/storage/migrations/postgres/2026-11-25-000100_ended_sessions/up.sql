-- Sessions of the console that somebody ended: no node takes their cookies any more. A row is of use until the session would
-- have ended by itself.
CREATE TABLE ended_sessions (
    id BYTEA NOT NULL PRIMARY KEY,
    ended_until BIGINT NOT NULL
);
