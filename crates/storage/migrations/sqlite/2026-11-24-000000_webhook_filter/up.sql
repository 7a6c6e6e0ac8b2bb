-- A CEL expression that an event must match, beside its type; empty for none.
ALTER TABLE webhooks ADD COLUMN filter TEXT NOT NULL DEFAULT '';
