SELECT max(`delivery_changes`.`position`)
FROM `delivery_changes`
WHERE (`delivery_changes`.`stream` = ?)
LIMIT ?
-- SEARCH delivery_changes USING PRIMARY KEY (stream=?)

INSERT INTO `delivery_changes` (`stream`, `position`, `deliveries`)
VALUES (?, ?, ?)
