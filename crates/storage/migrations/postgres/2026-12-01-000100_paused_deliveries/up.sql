-- Paused deliveries are few among what waits, and hold up their keys: 9223372036854775806 is their due time.
CREATE INDEX CONCURRENTLY pending_deliveries_paused ON pending_deliveries (organization_id, webhook_id, delivery_id) WHERE due_at = 9223372036854775806;
