SELECT "event_type_schemas"."event_type_id", "event_type_schemas"."version",
    "event_type_schemas"."json_schema", "event_type_schemas"."created_at"
FROM "event_type_schemas"
WHERE (("event_type_schemas"."event_type_id" = $1)
  AND ("event_type_schemas"."version" < $2))
ORDER BY "event_type_schemas"."version" DESC
LIMIT $3
