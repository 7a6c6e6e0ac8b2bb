ALTER TABLE pending_deliveries DROP COLUMN leased_at;
ALTER TABLE webhooks DROP COLUMN pull;
