import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ListAuditEntriesRequest } from '#gen/tideway/control/v1/control_service_pb.ts';
import type { AuditEntrySchema } from '#gen/tideway/control/v1/resources_pb.ts';
import { reachOrganization } from '#lib/server/reach.ts';
import type * as records from '#lib/store/records.ts';
import type { Caller, Control } from './caller.ts';
import { timeOf } from './messages.ts';

export async function listAuditEntries(control: Control, request: ListAuditEntriesRequest, caller: Caller) {
  const organization = await reachOrganization(control, caller.principal, request, 'organization:read');
  const { items, nextPageToken } = await control.store.audit.list(organization.id, request);
  return { auditEntries: items.map(auditEntryOf), nextPageToken };
}

function auditEntryOf(record: records.AuditEntry): MessageInitShape<typeof AuditEntrySchema> {
  const { id, timeMs, actor, action, target, fields } = record;
  return { id, time: timeOf(timeMs), actor, action, target, fields: [...fields] };
}
