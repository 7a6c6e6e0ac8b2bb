ALTER TABLE operations DROP COLUMN begun_at;
