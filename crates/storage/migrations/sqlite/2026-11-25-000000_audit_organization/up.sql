-- Whose resource a line of the audit log is about; NULL for what belongs to no organization.
ALTER TABLE audit_log ADD COLUMN organization_id BIGINT;
UPDATE audit_log SET organization_id = (
    SELECT o.id FROM organizations o
    WHERE o.name = substr(audit_log.resource, 15, instr(substr(audit_log.resource, 15) || '/', '/') - 1)
        AND o.created_at <= audit_log.at AND (o.deleted_at IS NULL OR o.deleted_at >= audit_log.at)
    ORDER BY o.created_at DESC LIMIT 1
) WHERE resource LIKE 'organizations/%';
CREATE INDEX audit_log_organization ON audit_log (organization_id, id);
