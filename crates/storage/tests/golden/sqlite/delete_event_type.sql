DELETE
FROM `event_type_schemas`
WHERE (`event_type_schemas`.`event_type_id` = ?)
-- SEARCH event_type_schemas USING COVERING INDEX sqlite_autoindex_event_type_schemas_1 (event_type_id=?)

DELETE
FROM `event_types`
WHERE (`event_types`.`id` = ?)
-- SEARCH event_types USING INTEGER PRIMARY KEY (rowid=?)
-- SEARCH event_type_schemas USING COVERING INDEX sqlite_autoindex_event_type_schemas_1 (event_type_id=?)

INSERT INTO `audit_log` (`id`, `at`, `actor`, `action`, `resource`, `details`, `organization_id`)
VALUES (?, ?, ?, ?, ?, ?, ?)
