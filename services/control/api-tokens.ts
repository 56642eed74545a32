import { create } from '@bufbuild/protobuf';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import type {
  CreateApiTokenRequest,
  GetApiTokenRequest,
  ListApiTokensRequest,
  RevokeApiTokenRequest,
} from '#gen/tideway/control/v1/control_service_pb.ts';
import { type ApiToken, ApiTokenSchema } from '#gen/tideway/control/v1/resources_pb.ts';
import { scopeSet } from '#lib/auth/scopes.ts';
import { found, reachOrganization } from '#lib/server/reach.ts';
import { invalidField } from '#lib/server/refusal.ts';
import type * as records from '#lib/store/records.ts';
import { type Caller, type Control, mandateOf, requireScopes } from './caller.ts';
import { requireText, stateOf, timeOf } from './messages.ts';

/** Later ones come in protobuf, and no list that has one could be answered as JSON. */
const MAX_TIMESTAMP_MS = Date.UTC(10_000, 0) - 1;

export async function createApiToken(
  control: Control,
  request: CreateApiTokenRequest,
  caller: Caller,
): Promise<ApiToken> {
  const organization = await reachOrganization(control, caller.principal, request, 'organization:write');
  const { name, scopes, expireTime } = found(request.create);
  const given = scopeSet(scopes);
  await requireScopes(control, caller, organization, given);
  const expiresMs = expireTime && timestampMs(expireTime);
  if (expiresMs !== undefined && expiresMs <= control.now()) {
    throw invalidField('create.expire_time', 'must be in the future');
  }
  if (expiresMs !== undefined && expiresMs > MAX_TIMESTAMP_MS) {
    throw invalidField('create.expire_time', 'must be before the year 10000');
  }
  const by = mandateOf(caller, organization.id, ['organization:write', ...given]);
  const { token, secret } = await control.store.apiTokens.create(by, organization.id, {
    name: requireText('create.name', name),
    scopes,
    expiresMs,
  });
  return { ...apiTokenOf(token), token: secret };
}

export async function getApiToken(control: Control, request: GetApiTokenRequest, caller: Caller): Promise<ApiToken> {
  const organization = await reachOrganization(control, caller.principal, request, 'organization:read');
  return apiTokenOf(found(await control.store.apiTokens.get(organization.id, request.token)));
}

export async function listApiTokens(control: Control, request: ListApiTokensRequest, caller: Caller) {
  const organization = await reachOrganization(control, caller.principal, request, 'organization:read');
  const { items, nextPageToken } = await control.store.apiTokens.list(organization.id, request);
  return { tokens: items.map(apiTokenOf), nextPageToken };
}

export async function revokeApiToken(
  control: Control,
  request: RevokeApiTokenRequest,
  caller: Caller,
): Promise<ApiToken> {
  const organization = await reachOrganization(control, caller.principal, request, 'organization:write');
  const by = mandateOf(caller, organization.id, ['organization:write']);
  return apiTokenOf(await control.store.apiTokens.revoke(by, organization.id, request.token));
}

function apiTokenOf(record: records.ApiToken): ApiToken {
  return create(ApiTokenSchema, {
    id: record.id,
    name: record.name,
    scopes: [...record.scopes],
    state: stateOf(record.state),
    expireTime: timeOf(record.expiresMs),
    createTime: timeOf(record.createdMs),
    lastUseTime: timeOf(record.lastUsedMs),
  });
}
