-- How far the request ids of a partition's events are removed: up to this id. They go in steps before the partition is dropped.
ALTER TABLE partitions ADD COLUMN cleared_to BIGINT NOT NULL DEFAULT 0;
