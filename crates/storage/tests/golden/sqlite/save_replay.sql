UPDATE `replays`
SET `cursor` = ?, `examined` = ?, `matched` = ?, `replayed` = ?, `skipped` = ?, `leased_until` = ?
WHERE (((`replays`.`id` = ?)
  AND (`replays`.`state` = ?))
  AND (`replays`.`node` = ?))
-- SEARCH replays USING INTEGER PRIMARY KEY (rowid=?)
