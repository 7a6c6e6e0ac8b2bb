-- Whose sessions were ended, so that no token can make the others' be forgotten. What was noted before is of no use: the cookies of
-- those sessions have another form, which opens no more.
DROP TABLE ended_sessions;
CREATE TABLE ended_sessions (
    id BLOB NOT NULL PRIMARY KEY,
    token_id BIGINT NOT NULL,
    began_at BIGINT NOT NULL,
    ended_until BIGINT NOT NULL,
    -- Whether every session of the token that began earlier is over too.
    and_earlier BOOLEAN NOT NULL DEFAULT 0
);
