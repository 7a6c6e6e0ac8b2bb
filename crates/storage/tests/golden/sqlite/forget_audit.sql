SELECT `audit_log`.`id`
FROM `audit_log`
WHERE (`audit_log`.`id` < ?)
ORDER BY `audit_log`.`id`
LIMIT ? OFFSET ?
-- SEARCH audit_log USING INTEGER PRIMARY KEY (rowid<?)

DELETE
FROM `audit_log`
WHERE (`audit_log`.`id` < ?)
-- SEARCH audit_log USING INTEGER PRIMARY KEY (rowid<?)
