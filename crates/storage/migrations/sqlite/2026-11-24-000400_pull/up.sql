-- Webhooks whose deliveries are fetched, not posted: their payload URL is empty.
ALTER TABLE webhooks ADD COLUMN pull BOOLEAN NOT NULL DEFAULT FALSE;
-- When a delivery of such a webhook was handed out; its due time is then the deadline.
ALTER TABLE pending_deliveries ADD COLUMN leased_at BIGINT;
