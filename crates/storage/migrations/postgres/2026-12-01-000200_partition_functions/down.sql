DROP FUNCTION IF EXISTS hookwright_make_partition(date);
DROP FUNCTION IF EXISTS hookwright_drop_partition(bigint);
