import { create } from '@bufbuild/protobuf';
import { type ScopedQuota, ScopedQuota_Scope, ScopedQuotaSchema } from '#gen/tideway/config/v1/config_service_pb.ts';
import type { LimitScope, TakeRequest, TakeResult } from './limits.ts';

const SCOPES = {
  organization: ScopedQuota_Scope.ORGANIZATION,
  project: ScopedQuota_Scope.PROJECT,
  key: ScopedQuota_Scope.KEY,
} as const;

export interface QuotaFields {
  readonly id?: string;
  readonly categories?: readonly string[];
  /** Undefined: it only counts. */
  readonly limit?: number | undefined;
  readonly windowSec?: number;
  readonly reasonCode?: string;
}

export interface TestSender {
  readonly organizationId: bigint;
  readonly projectId: bigint;
  readonly keyId: bigint;
  /** A quota of this sender's organization, project or key. */
  quota(scope: LimitScope, fields?: QuotaFields): ScopedQuota;
  /** One error, if nothing else is said. */
  request(quotas: readonly ScopedQuota[], fields?: Partial<TakeRequest>): TakeRequest;
}

/** Whoever sends in a test; nobody has sent for them before. */
export function newSender(organizationId = someId(), projectId = someId(), keyId = someId()): TestSender {
  const ids = { organization: organizationId, project: projectId, key: keyId };
  return {
    organizationId,
    projectId,
    keyId,
    quota: (scope, fields = {}) => {
      const { id = 'q', categories = ['error'], limit, windowSec = 60, reasonCode = '' } = fields;
      return create(ScopedQuotaSchema, {
        scope: SCOPES[scope],
        scopeId: ids[scope],
        quota: {
          ...{ id, categories: [...categories], windowSec, reasonCode },
          ...(limit === undefined ? {} : { limit: BigInt(limit) }),
        },
      });
    },
    request: (quotas, fields = {}) => ({
      ...{ organizationId, projectId, keyId, quotas },
      ...{ category: 'error', quantity: 1, overAcceptOnce: false, ...fields },
    }),
  };
}

export function taken(results: readonly TakeResult[]): boolean[] {
  return results.map(({ isTaken }) => isTaken);
}

function someId(): bigint {
  return BigInt(1 + Math.floor(Math.random() * 2 ** 40));
}
