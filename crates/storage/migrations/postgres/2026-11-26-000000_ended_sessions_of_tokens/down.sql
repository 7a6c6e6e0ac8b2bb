DROP TABLE ended_sessions;
CREATE TABLE ended_sessions (
    id BYTEA NOT NULL PRIMARY KEY,
    ended_until BIGINT NOT NULL
);
