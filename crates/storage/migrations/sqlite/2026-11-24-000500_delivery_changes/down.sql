DROP TABLE delivery_changes;
