import { createRegistry } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import { file_google_rpc_error_details } from '#gen/google/rpc/error_details_pb.ts';
import { ControlService } from '#gen/tideway/control/v1/control_service_pb.ts';
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
  const calls = {
    createOrganization: guarded(control, method.createOrganization, createOrganization),
    getOrganization: guarded(control, method.getOrganization, getOrganization),
    listOrganizations: guarded(control, method.listOrganizations, listOrganizations),
    updateOrganization: guarded(control, method.updateOrganization, updateOrganization),
    createProject: guarded(control, method.createProject, createProject),
    getProject: guarded(control, method.getProject, getProject),
    listProjects: guarded(control, method.listProjects, listProjects),
    updateProject: guarded(control, method.updateProject, updateProject),
    createProjectKey: guarded(control, method.createProjectKey, createProjectKey),
    getProjectKey: guarded(control, method.getProjectKey, getProjectKey),
    listProjectKeys: guarded(control, method.listProjectKeys, listProjectKeys),
    updateProjectKey: guarded(control, method.updateProjectKey, updateProjectKey),
    rotateProjectKey: guarded(control, method.rotateProjectKey, rotateProjectKey),
    getMember: guarded(control, method.getMember, getMember),
    listMembers: guarded(control, method.listMembers, listMembers),
    updateMember: guarded(control, method.updateMember, updateMember),
    deleteMember: guarded(control, method.deleteMember, deleteMember),
    createInvitation: guarded(control, method.createInvitation, createInvitation),
    listInvitations: guarded(control, method.listInvitations, listInvitations),
    deleteInvitation: guarded(control, method.deleteInvitation, deleteInvitation),
    createApiToken: guarded(control, method.createApiToken, createApiToken),
    getApiToken: guarded(control, method.getApiToken, getApiToken),
    listApiTokens: guarded(control, method.listApiTokens, listApiTokens),
    revokeApiToken: guarded(control, method.revokeApiToken, revokeApiToken),
    listAuditEntries: guarded(control, method.listAuditEntries, listAuditEntries),
    listRegions: guarded(control, method.listRegions, listRegions),
  } satisfies ServiceImpl<typeof ControlService>;
  return {
    services: [ControlService],
    http: [],
    rpc(router) {
      router.service(ControlService, calls, {
        // A setting with a misspelt name must not be passed over without a word, in JSON sent here no more than in JSON
        // sent to the edge.
        jsonOptions: { ignoreUnknownFields: false, registry: createRegistry(file_google_rpc_error_details) },
        readMaxBytes: MAX_REQUEST_BYTES,
      });
    },
  };
}

/** A project with as many settings as its contract lets it have. */
const MAX_REQUEST_BYTES = 256 * 1024;
