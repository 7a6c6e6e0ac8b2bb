-- One server alone has no other to tell what changed.
SELECT 1;
