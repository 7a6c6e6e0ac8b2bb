DROP INDEX pending_deliveries_paused;
