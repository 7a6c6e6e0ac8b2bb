-- Which deliveries changed, commit by commit, for those who watch them: a row names all that one commit changed. Each stream
-- has one writer at a time, so that its positions become visible in order. Rows are kept for a day.
CREATE TABLE delivery_changes (
    stream INTEGER NOT NULL, -- the node; -1 for changes made by callers on PostgreSQL
    position BIGINT NOT NULL, -- microseconds since the epoch, raised where that does not grow
    deliveries BLOB NOT NULL, -- packed: see hookwright-storage's `changes`
    PRIMARY KEY (stream, position)
) WITHOUT ROWID;
