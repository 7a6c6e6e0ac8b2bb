-- Whether rows of a partition were removed one by one, so that its tables take more space than what is left in them.
ALTER TABLE partitions ADD COLUMN sparse BOOLEAN NOT NULL DEFAULT false;
