DROP TABLE webhook_successes;
