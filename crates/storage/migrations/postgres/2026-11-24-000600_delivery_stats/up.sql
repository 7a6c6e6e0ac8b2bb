-- What happened in each minute and each hour, as counts and histograms. The subject is a webhook, an organization, or 0 for
-- the installation.
CREATE TABLE delivery_stats (
    subject_id BIGINT NOT NULL,
    period BIGINT NOT NULL, -- its length in seconds
    started_at BIGINT NOT NULL,
    node INTEGER NOT NULL,
    attempts BIGINT NOT NULL,
    failed_attempts BIGINT NOT NULL,
    delivered BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    durations BYTEA NOT NULL, -- packed histogram of how long attempts took
    latencies BYTEA NOT NULL, -- and of the time from publication to delivery
    PRIMARY KEY (subject_id, period, started_at, node)
);
CREATE INDEX delivery_stats_age ON delivery_stats (period, started_at);
