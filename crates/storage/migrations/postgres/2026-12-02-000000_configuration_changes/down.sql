DROP TABLE configuration_changes;
