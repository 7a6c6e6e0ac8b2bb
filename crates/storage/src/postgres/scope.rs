//! What one installation has to itself where several share a database, each in a schema of its own (`options=-csearch_path=name`).
//!
//! Advisory locks, channels of notices and names of sessions belong to a database, not to a schema. Each is therefore changed by
//! the current schema, in SQL, so that no session needs to know its schema. In `public` they are as they always were, so that
//! servers of an older version take part.

/// Changes a 64-bit key of an advisory lock: `key # KEY_64`.
pub(super) const KEY_64: &str =
    "(CASE current_schema() WHEN 'public' THEN 0 ELSE hashtextextended(current_schema()::text, 0) END)";

/// Changes the first half of an advisory lock with two halves: `half # KEY_32`.
pub(super) const KEY_32: &str =
    "(CASE current_schema() WHEN 'public' THEN 0 ELSE hashtext(current_schema()::text) END)";

/// What comes at the end of names. PostgreSQL keeps 63 bytes of them: a long schema is shortened to its hash.
pub(super) const SUFFIX: &str = "(CASE WHEN current_schema() = 'public' THEN '' \
     WHEN octet_length(current_schema()::text) <= 32 THEN ' in ' || current_schema() \
     ELSE ' in ' || md5(current_schema()::text) END)";
