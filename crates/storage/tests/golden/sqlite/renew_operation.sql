UPDATE `operations`
SET `leased_until` = ?
WHERE (((`operations`.`id` = ?)
  AND (`operations`.`state` = ?))
  AND (`operations`.`node` = ?))
-- SEARCH operations USING INTEGER PRIMARY KEY (rowid=?)
