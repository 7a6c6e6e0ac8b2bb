-- When the operation was begun, by the schedule clock, which due times go by; 0 for one from before this column.
ALTER TABLE operations ADD COLUMN begun_at BIGINT NOT NULL DEFAULT 0;
