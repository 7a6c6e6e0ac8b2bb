DROP INDEX attempts_failed;
