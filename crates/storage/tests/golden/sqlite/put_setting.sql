INSERT INTO `settings` (`key`, `value`)
VALUES (?, ?)
ON CONFLICT (`key`) DO UPDATE
SET `value` = ?
