DROP INDEX audit_log_organization;
ALTER TABLE audit_log DROP COLUMN organization_id;
