DROP INDEX webhooks_owned;
DROP TABLE operations;
