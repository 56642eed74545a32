import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import {
  type ProjectConfig,
  ProjectConfigSchema,
  ScopedQuota_Scope,
  type ScopedQuotaSchema,
} from '#gen/tideway/config/v1/config_service_pb.ts';
import type { RateLimit } from '#gen/tideway/control/v1/resources_pb.ts';
import type { KeyConfig } from '#lib/store/records.ts';

/**
 * What is cached of a public key. A config is kept encoded: that is what most callers are sent, its size is known, and a
 * process with a million of them has no million objects to look after.
 */
export type ConfigEntry =
  | {
      readonly kind: 'config';
      readonly revision: bigint;
      /** A tideway.config.v1.ProjectConfig. */
      readonly bytes: Uint8Array;
      readonly loadedAtMs: number;
    }
  /** It exists and is not in use, or its project or organization is not. */
  | { readonly kind: 'disabled'; readonly loadedAtMs: number }
  | { readonly kind: 'unknown'; readonly loadedAtMs: number };

/** `undefined`: the store knows no such key. `loadedAtMs` is the wall clock's: entries are shared by processes. */
export function entryOf(config: KeyConfig | undefined, loadedAtMs: number): ConfigEntry {
  if (config === undefined) return { kind: 'unknown', loadedAtMs };
  if (!config.active) return { kind: 'disabled', loadedAtMs };
  const bytes = toBinary(ProjectConfigSchema, projectConfigOf(config));
  return { kind: 'config', revision: config.revision, bytes, loadedAtMs };
}

export function decodeConfig(bytes: Uint8Array): ProjectConfig {
  return fromBinary(ProjectConfigSchema, bytes);
}

function projectConfigOf({ keyId, revision, rateLimit, project, organization }: KeyConfig): ProjectConfig {
  const scoped = (scope: ScopedQuota_Scope, scopeId: bigint) => (quota: QuotaInit) => ({ scope, scopeId, quota });
  return create(ProjectConfigSchema, {
    projectId: project.id,
    organizationId: organization.id,
    slug: project.slug,
    revision,
    keyId,
    allowedDomains: [...project.allowedDomains],
    filters: project.filters,
    scrubbing: project.scrubbing,
    quotas: [
      ...organization.quotas.map(scoped(ScopedQuota_Scope.ORGANIZATION, organization.id)),
      ...project.quotas.map(scoped(ScopedQuota_Scope.PROJECT, project.id)),
      ...(rateLimit === undefined ? [] : [scoped(ScopedQuota_Scope.KEY, keyId)(keyQuota(rateLimit))]),
    ],
    retentionDays: project.retentionDays,
  });
}

type QuotaInit = NonNullable<MessageInitShape<typeof ScopedQuotaSchema>['quota']>;

/** The categories that are counted in events. One number can't bound these and bytes. */
export const EVENT_CATEGORIES = ['default', 'error', 'transaction', 'security', 'user_report_v2'];

/** With a count of 0 nothing is taken, attachments and sessions included. */
function keyQuota({ count, windowSec }: RateLimit): QuotaInit {
  return {
    id: 'key',
    categories: count === 0n ? [] : EVENT_CATEGORIES,
    limit: count,
    windowSec,
    reasonCode: 'key_rate_limit',
  };
}
