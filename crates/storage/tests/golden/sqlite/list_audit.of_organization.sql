SELECT `audit_log`.`id`, `audit_log`.`at`, `audit_log`.`actor`, `audit_log`.`action`, `audit_log`.`resource`,
    `audit_log`.`details`, `audit_log`.`organization_id`, `organizations`.`name`
FROM (`audit_log`
LEFT OUTER JOIN `organizations` ON (`audit_log`.`organization_id` = `organizations`.`id`))
WHERE ((`audit_log`.`id` < ?)
  AND (`audit_log`.`organization_id` = ?))
ORDER BY `audit_log`.`id` DESC
LIMIT ?
-- SEARCH audit_log USING INDEX audit_log_organization (organization_id=? AND id<?)
-- SEARCH organizations USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN
