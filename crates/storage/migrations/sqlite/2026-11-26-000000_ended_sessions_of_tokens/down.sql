DROP TABLE ended_sessions;
CREATE TABLE ended_sessions (
    id BLOB NOT NULL PRIMARY KEY,
    ended_until BIGINT NOT NULL
);
