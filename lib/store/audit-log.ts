import type { Access } from './access.ts';
import { MAX_NUMBER } from './identifiers.ts';
import { Paging } from './page.ts';
import type { AuditEntry } from './records.ts';
import type { AuditLogTable } from './schema.ts';
import { stringsColumn } from './settings-json.ts';
import type { AuditLog } from './store.ts';

export function createAuditLog(access: Access): AuditLog {
  return {
    list: async (organizationId, query) => {
      const paging = new Paging(query, 'audit', organizationId);
      const rows = await access.read((db) =>
        db
          .selectFrom('audit_log')
          .selectAll()
          .where('organization_id', '=', organizationId)
          .where('id', '<', paging.after ?? MAX_NUMBER)
          .orderBy('id', 'desc')
          .limit(paging.limit)
          .execute(),
      );
      return paging.page(rows, ({ id }) => id, auditEntryOf);
    },
  };
}

function auditEntryOf(row: AuditLogTable): AuditEntry {
  return {
    id: row.id,
    timeMs: Number(row.time_ms),
    actor: row.actor,
    action: row.action,
    target: row.target,
    fields: stringsColumn.decode(row.fields),
  };
}
