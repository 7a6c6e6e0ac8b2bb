ALTER TABLE partitions DROP COLUMN sparse;
