-- With these a server makes and drops the tables of a day although its role may not change the schema. They run with the rights of
-- their owner, on the tables of this schema alone, and nobody may call them who was not granted it.
CREATE FUNCTION hookwright_make_partition(the_day date) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $body$
DECLARE
    today date := (now() AT TIME ZONE 'UTC')::date;
    first bigint := (SELECT max(p.end_id) FROM partitions p);
    -- The first id of the next day: milliseconds since 2024, above 22 bits of node and sequence.
    until bigint := ((the_day + 1 - date '2024-01-01')::bigint * 86400000) << 22;
    parent text;
    child text;
    granted record;
BEGIN
    IF the_day IS NULL OR the_day < today - 2 OR the_day > today + 31 THEN
        RAISE EXCEPTION 'tables are made for the days from two days ago to 31 days ahead, not for %', the_day
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF first >= until THEN
        RETURN;
    END IF;
    FOREACH parent IN ARRAY ARRAY['events', 'attempts', 'delivery_endings'] LOOP
        child := parent || '_' || to_char(the_day, 'YYYYMMDD');
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', child, parent);
        -- A server reads some partitions directly: whoever may use the table may use its partition.
        FOR granted IN
            SELECT a.privilege_type, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS grantee
            FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a
            WHERE c.oid = parent::regclass AND a.grantee <> c.relowner
        LOOP
            EXECUTE format('GRANT %s ON %I TO %s', granted.privilege_type, child, granted.grantee);
        END LOOP;
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)', parent, child,
            coalesce(first::text, 'MINVALUE'), until);
    END LOOP;
    INSERT INTO partitions (day, first_id, end_id) VALUES (the_day, coalesce(first, 0), until);
END $body$;

CREATE FUNCTION hookwright_drop_partition(until bigint) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER AS $body$
DECLARE
    today date := (now() AT TIME ZONE 'UTC')::date;
    chosen partitions%ROWTYPE;
    events bigint;
    suffix text;
BEGIN
    SELECT * INTO chosen FROM partitions p WHERE p.end_id = until FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    IF chosen.day >= today OR chosen.cleared_to < chosen.end_id OR EXISTS (
        SELECT 1 FROM pending_deliveries d WHERE d.delivery_id >= chosen.first_id AND d.delivery_id < chosen.end_id
    ) THEN
        RAISE EXCEPTION 'the tables of % are still in use', chosen.day USING ERRCODE = 'object_in_use';
    END IF;
    suffix := to_char(chosen.day, 'YYYYMMDD');
    events := (SELECT greatest(c.reltuples, 0)::bigint FROM pg_class c WHERE c.oid = to_regclass('events_' || suffix));
    EXECUTE format('DROP TABLE %I, %I, %I', 'events_' || suffix, 'attempts_' || suffix, 'delivery_endings_' || suffix);
    DELETE FROM partitions p WHERE p.end_id = until;
    RETURN coalesce(events, 0);
END $body$;

REVOKE ALL ON FUNCTION hookwright_make_partition(date) FROM PUBLIC;
REVOKE ALL ON FUNCTION hookwright_drop_partition(bigint) FROM PUBLIC;

-- Whoever calls them cannot have them use tables of another schema.
DO $body$ BEGIN
    EXECUTE format('ALTER FUNCTION hookwright_make_partition(date) SET search_path = %I, pg_temp', current_schema());
    EXECUTE format('ALTER FUNCTION hookwright_drop_partition(bigint) SET search_path = %I, pg_temp', current_schema());
END $body$;
