DROP TABLE replays;
DROP TABLE event_replays;
ALTER TABLE events DROP COLUMN replay_of;
