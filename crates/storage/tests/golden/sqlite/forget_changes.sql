SELECT `delivery_changes`.`stream`
FROM `delivery_changes`
WHERE (`delivery_changes`.`stream` > ?)
ORDER BY `delivery_changes`.`stream`
LIMIT ?
-- SEARCH delivery_changes USING PRIMARY KEY (stream>?)

SELECT max(`delivery_changes`.`position`)
FROM `delivery_changes`
WHERE (`delivery_changes`.`stream` = ?)
LIMIT ?
-- SEARCH delivery_changes USING PRIMARY KEY (stream=?)

SELECT `delivery_changes`.`position`
FROM `delivery_changes`
WHERE (`delivery_changes`.`stream` = ?)
ORDER BY `delivery_changes`.`position`
LIMIT ? OFFSET ?
-- SEARCH delivery_changes USING PRIMARY KEY (stream=?)

DELETE
FROM `delivery_changes`
WHERE ((`delivery_changes`.`stream` = ?)
  AND (`delivery_changes`.`position` < ?))
-- SEARCH delivery_changes USING PRIMARY KEY (stream=? AND position<?)
