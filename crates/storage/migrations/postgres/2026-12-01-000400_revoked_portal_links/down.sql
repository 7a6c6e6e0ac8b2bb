DROP TABLE revoked_portal_links;
