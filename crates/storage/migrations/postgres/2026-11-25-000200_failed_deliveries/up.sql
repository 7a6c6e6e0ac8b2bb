-- Deliveries that failed are few among many, and what people look for. What is delivered has no place in this index, and costs
-- it nothing.
CREATE INDEX attempts_failed ON attempts (organization_id, delivery_id) WHERE delivery_state = 2;
