SELECT `event_type_schemas`.`event_type_id`, `event_type_schemas`.`version`,
    `event_type_schemas`.`json_schema`, `event_type_schemas`.`created_at`
FROM `event_type_schemas`
WHERE ((`event_type_schemas`.`event_type_id` = ?)
  AND (`event_type_schemas`.`version` < ?))
ORDER BY `event_type_schemas`.`version` DESC
LIMIT ?
-- SEARCH event_type_schemas USING INDEX sqlite_autoindex_event_type_schemas_1 (event_type_id=? AND version<?)
