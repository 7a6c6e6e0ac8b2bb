-- Migrations go forward only.
SELECT 1;
