-- What each version of the configuration changed: other nodes read only that. The last thousand or so are kept; a node that lacks
-- more reads everything.
CREATE TABLE configuration_changes (
    version BIGINT PRIMARY KEY,
    part TEXT NOT NULL, -- see `ConfigurationPart`
    part_id BIGINT NOT NULL -- of an organization or a webhook, else 0
);
