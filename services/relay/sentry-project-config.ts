import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  type ProjectConfig,
  ProjectConfigSchema,
  ScopedQuota_Scope,
  type ScopedQuotaSchema,
} from '#gen/tideway/config/v1/config_service_pb.ts';
import type { FilterSettingsSchema, ScrubbingSettingsSchema } from '#gen/tideway/control/v1/resources_pb.ts';

/** What a Sentry upstream says of a project. `rev`: undefined where it says none. */
export type SentryProject =
  | { readonly kind: 'disabled' }
  | { readonly kind: 'enabled'; readonly config: ProjectConfig; readonly rev: string | undefined };

const DEFAULT_RETENTION_DAYS = 90;
const DEFAULT_DOMAINS = ['*'];

/** A project's state of version 3, without its revision. Undefined: it can't be read. */
export function readSentryProject(state: unknown, publicKey: string): SentryProject | undefined {
  const { projectId, organizationId, slug, rev, disabled, publicKeys, config } = fieldsOf(state);
  if (disabled === true) return { kind: 'disabled' };
  const id = readId(projectId);
  if (id === undefined || typeof config !== 'object' || config === null) return undefined;
  const { allowedDomains, filterSettings, datascrubbingSettings, piiConfig, quotas, eventRetention } = fieldsOf(config);
  const ids: Ids = {
    project: id,
    organization: readId(organizationId) ?? UNKNOWN_ID,
    key: keyIdOf(publicKeys, publicKey),
  };
  return {
    kind: 'enabled',
    rev: typeof rev === 'string' && rev !== '' ? rev : undefined,
    config: create(ProjectConfigSchema, {
      projectId: ids.project,
      organizationId: ids.organization,
      keyId: ids.key,
      slug: typeof slug === 'string' ? slug : '',
      // Empty: none may send.
      allowedDomains: Array.isArray(allowedDomains) ? textsOf(allowedDomains) : DEFAULT_DOMAINS,
      filters: filtersOf(fieldsOf(filterSettings)),
      scrubbing: scrubbingOf(fieldsOf(datascrubbingSettings), piiConfig),
      quotas: (Array.isArray(quotas) ? quotas : []).flatMap((quota) => quotaOf(fieldsOf(quota), ids)),
      retentionDays: readCount(eventRetention, MAX_UINT32) ?? DEFAULT_RETENTION_DAYS,
    }),
  };
}

type Fields = Readonly<Record<string, unknown>>;

interface Ids {
  readonly organization: bigint;
  readonly project: bigint;
  readonly key: bigint;
}

function filtersOf(filters: Fields): MessageInitShape<typeof FilterSettingsSchema> {
  const { legacyBrowsers, clientIps, errorMessages, releases, csp, ignoreTransactions } = filters;
  const isOn = (name: string) => fieldsOf(filters[name])['isEnabled'] === true;
  return {
    browserExtensions: isOn('browserExtensions'),
    webCrawlers: isOn('webCrawlers'),
    localhost: isOn('localhost'),
    legacyBrowsers: isOn('legacyBrowsers') ? textsOf(fieldsOf(legacyBrowsers)['options']) : [],
    clientIps: textsOf(fieldsOf(clientIps)['blacklistedIps']),
    errorMessages: textsOf(fieldsOf(errorMessages)['patterns']),
    releases: textsOf(fieldsOf(releases)['releases']),
    cspDisallowedSources: textsOf(fieldsOf(csp)['disallowedSources']),
    transactions: isOn('ignoreTransactions') ? textsOf(fieldsOf(ignoreTransactions)['patterns']) : [],
  };
}

function scrubbingOf(settings: Fields, piiConfig: unknown): MessageInitShape<typeof ScrubbingSettingsSchema> {
  const { scrubData, scrubDefaults, scrubIpAddresses, sensitiveFields, excludeFields } = settings;
  return {
    scrubData: scrubData === true,
    scrubDefaults: scrubDefaults === true,
    scrubIpAddresses: scrubIpAddresses === true,
    sensitiveFields: textsOf(sensitiveFields),
    excludeFields: textsOf(excludeFields),
    piiConfigJson: typeof piiConfig === 'object' && piiConfig !== null ? JSON.stringify(piiConfig) : '',
  };
}

const SCOPES: Readonly<Record<string, { readonly scope: ScopedQuota_Scope; readonly own: keyof Ids }>> = {
  organization: { scope: ScopedQuota_Scope.ORGANIZATION, own: 'organization' },
  project: { scope: ScopedQuota_Scope.PROJECT, own: 'project' },
  key: { scope: ScopedQuota_Scope.KEY, own: 'key' },
};

/**
 * None where it can't hold here: of another scope or another's, of metrics, of parts of a project, or without what it
 * would be counted by. An upstream counts again what a relay takes.
 */
function quotaOf(quota: Fields, ids: Ids): MessageInitShape<typeof ScopedQuotaSchema>[] {
  const {
    id,
    categories,
    scope: name = 'organization',
    scopeId,
    limit,
    window,
    reasonCode,
    namespace,
    groupBy,
  } = quota;
  const known = typeof name === 'string' && Object.hasOwn(SCOPES, name) ? SCOPES[name] : undefined;
  if (known === undefined || isGiven(namespace) || isGiven(groupBy)) return [];
  const own = ids[known.own];
  // Not told: all of whom that isn't told would be one.
  if (own === UNKNOWN_ID) return [];
  const whose = isGiven(scopeId) ? readId(scopeId) : own;
  if (whose !== own) return [];
  const count = isGiven(limit) ? readCount(limit, Number.MAX_SAFE_INTEGER) : undefined;
  const windowSec = readCount(window, MAX_UINT32) ?? 0;
  const hasId = typeof id === 'string' && id !== '';
  if (isGiven(limit) && count === undefined) return [];
  if (count !== 0 && (!hasId || (count !== undefined && windowSec === 0))) return [];
  return [
    {
      scope: known.scope,
      scopeId: own,
      quota: {
        id: hasId ? id : '',
        categories: textsOf(categories),
        windowSec,
        reasonCode: typeof reasonCode === 'string' ? reasonCode : '',
        ...(count === undefined ? {} : { limit: BigInt(count) }),
      },
    },
  ];
}

function keyIdOf(publicKeys: unknown, publicKey: string): bigint {
  const keys = (Array.isArray(publicKeys) ? publicKeys : []).map(fieldsOf);
  return readId(keys.find((key) => key['publicKey'] === publicKey)?.['numericId']) ?? UNKNOWN_ID;
}

/** Nobody's. */
const UNKNOWN_ID = 0n;
const MAX_UINT32 = 0xffff_ffff;

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null;
}

/** A whole number, also as text. */
function readId(value: unknown): bigint | undefined {
  if (typeof value === 'number') return Number.isSafeInteger(value) && value >= 0 ? BigInt(value) : undefined;
  return typeof value === 'string' && /^[0-9]{1,19}$/.test(value) ? BigInt(value) : undefined;
}

function readCount(value: unknown, max: number): number | undefined {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= max ? value : undefined;
}

function textsOf(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
}

function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : {};
}
