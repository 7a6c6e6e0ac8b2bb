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
