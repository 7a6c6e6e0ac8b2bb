SELECT `settings`.`value`
FROM `settings`
WHERE (`settings`.`key` = ?)
LIMIT ?
-- SEARCH settings USING INDEX sqlite_autoindex_settings_1 (key=?)
