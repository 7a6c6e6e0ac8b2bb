DROP TABLE delivery_stats;
