import { createRegistry } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import { file_google_rpc_error_details } from '#gen/google/rpc/error_details_pb.ts';
import { ControlService } from '#gen/tideway/control/v1/control_service_pb.ts';
import { admit } from '#lib/server/rpc.ts';
import type { ServiceParts } from '#lib/server/run-service.ts';
import { createApiToken, getApiToken, listApiTokens, revokeApiToken } from './api-tokens.ts';
import { listAuditEntries } from './audit-entries.ts';
import { type Control, guarded } from './caller.ts';
import { createInvitation, deleteInvitation, listInvitations } from './invitations.ts';
import { deleteMember, getMember, listMembers, updateMember } from './members.ts';
import { createOrganization, getOrganization, listOrganizations, updateOrganization } from './organizations.ts';
import {
  createProjectKey,
  getProjectKey,
  listProjectKeys,
  rotateProjectKey,
  updateProjectKey,
} from './project-keys.ts';
import { createProject, getProject, listProjects, updateProject } from './projects.ts';
import { listRegions } from './regions.ts';

/** The control service: ControlService by RPC. Its JSON forms are Envoy's doing. */
export function controlService(control: Control): ServiceParts {
  const { method } = ControlService;
  const callers = admit((headers) => control.gate.authenticateCaller(headers));
  const calls = {
    createOrganization: guarded(control, callers, method.createOrganization, createOrganization),
    getOrganization: guarded(control, callers, method.getOrganization, getOrganization),
    listOrganizations: guarded(control, callers, method.listOrganizations, listOrganizations),
    updateOrganization: guarded(control, callers, method.updateOrganization, updateOrganization),
    createProject: guarded(control, callers, method.createProject, createProject),
    getProject: guarded(control, callers, method.getProject, getProject),
    listProjects: guarded(control, callers, method.listProjects, listProjects),
    updateProject: guarded(control, callers, method.updateProject, updateProject),
    createProjectKey: guarded(control, callers, method.createProjectKey, createProjectKey),
    getProjectKey: guarded(control, callers, method.getProjectKey, getProjectKey),
    listProjectKeys: guarded(control, callers, method.listProjectKeys, listProjectKeys),
    updateProjectKey: guarded(control, callers, method.updateProjectKey, updateProjectKey),
    rotateProjectKey: guarded(control, callers, method.rotateProjectKey, rotateProjectKey),
    getMember: guarded(control, callers, method.getMember, getMember),
    listMembers: guarded(control, callers, method.listMembers, listMembers),
    updateMember: guarded(control, callers, method.updateMember, updateMember),
    deleteMember: guarded(control, callers, method.deleteMember, deleteMember),
    createInvitation: guarded(control, callers, method.createInvitation, createInvitation),
    listInvitations: guarded(control, callers, method.listInvitations, listInvitations),
    deleteInvitation: guarded(control, callers, method.deleteInvitation, deleteInvitation),
    createApiToken: guarded(control, callers, method.createApiToken, createApiToken),
    getApiToken: guarded(control, callers, method.getApiToken, getApiToken),
    listApiTokens: guarded(control, callers, method.listApiTokens, listApiTokens),
    revokeApiToken: guarded(control, callers, method.revokeApiToken, revokeApiToken),
    listAuditEntries: guarded(control, callers, method.listAuditEntries, listAuditEntries),
    listRegions: guarded(control, callers, method.listRegions, listRegions),
  } satisfies ServiceImpl<typeof ControlService>;
  return {
    services: [ControlService],
    http: [],
    rpc(router, onError) {
      router.service(ControlService, calls, {
        // A setting with a misspelt name must not be passed over without a word, in JSON sent here no more than in JSON
        // sent to the edge.
        jsonOptions: { ignoreUnknownFields: false, registry: createRegistry(file_google_rpc_error_details) },
        readMaxBytes: MAX_REQUEST_BYTES,
        requestGate: callers.requestGate(onError),
      });
    },
  };
}

/** A project with as many settings as its contract lets it have. */
const MAX_REQUEST_BYTES = 256 * 1024;
