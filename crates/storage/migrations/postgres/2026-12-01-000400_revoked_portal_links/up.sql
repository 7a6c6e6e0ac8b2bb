-- Portal links that were revoked, each until it would have ended by itself.
CREATE TABLE revoked_portal_links (
    link_id BIGINT NOT NULL,
    organization_id BIGINT NOT NULL,
    revoked_until BIGINT NOT NULL,
    PRIMARY KEY (organization_id, link_id)
);
