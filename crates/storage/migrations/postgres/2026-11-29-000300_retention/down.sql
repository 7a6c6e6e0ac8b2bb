ALTER TABLE partitions DROP COLUMN cleared_to;
