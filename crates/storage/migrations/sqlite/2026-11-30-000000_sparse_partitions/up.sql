-- SQLite has no partitions. The migration is there so that both stores have the same versions.
SELECT 1;
