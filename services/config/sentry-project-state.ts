import { type ProjectConfig, type ScopedQuota, ScopedQuota_Scope } from '#gen/tideway/config/v1/config_service_pb.ts';
import type { FilterSettings, ScrubbingSettings } from '#gen/tideway/control/v1/resources_pb.ts';
import { EVENT_CATEGORIES } from '#lib/config-cache/config-entry.ts';
import { readPiiConfig } from '#lib/store/pii-config.ts';

/** A project's state as Sentry relays read it: version 3, of one public key. */
export function projectState(config: ProjectConfig, publicKey: string) {
  return {
    projectId: Number(config.projectId),
    slug: config.slug,
    rev: String(config.revision),
    // Not kept by revision; relays go by `rev`.
    lastChange: null,
    disabled: false,
    organizationId: Number(config.organizationId),
    publicKeys: [{ publicKey, numericId: Number(config.keyId) }],
    config: {
      allowedDomains: config.allowedDomains,
      trustedRelays: [],
      piiConfig: piiConfig(config.scrubbing),
      datascrubbingSettings: scrubbingSettings(config.scrubbing),
      filterSettings: filterSettings(config.filters),
      quotas: config.quotas.flatMap(quotaOf),
      eventRetention: config.retentionDays,
      features: [],
    },
  };
}

/** Only what is on: relays take what is missing as off. */
function filterSettings(filters: FilterSettings | undefined): Record<string, unknown> {
  if (filters === undefined) return {};
  const { legacyBrowsers, clientIps, errorMessages, releases, cspDisallowedSources, transactions } = filters;
  return {
    ...(filters.browserExtensions ? { browserExtensions: { isEnabled: true } } : {}),
    ...(filters.webCrawlers ? { webCrawlers: { isEnabled: true } } : {}),
    ...(filters.localhost ? { localhost: { isEnabled: true } } : {}),
    ...(legacyBrowsers.length > 0 ? { legacyBrowsers: { isEnabled: true, options: legacyBrowsers } } : {}),
    ...(clientIps.length > 0 ? { clientIps: { blacklistedIps: clientIps } } : {}),
    ...(errorMessages.length > 0 ? { errorMessages: { patterns: errorMessages } } : {}),
    ...(releases.length > 0 ? { releases: { releases } } : {}),
    ...(cspDisallowedSources.length > 0 ? { csp: { disallowedSources: cspDisallowedSources } } : {}),
    ...(transactions.length > 0 ? { ignoreTransactions: { isEnabled: true, patterns: transactions } } : {}),
  };
}

function scrubbingSettings(scrubbing: ScrubbingSettings | undefined) {
  return {
    scrubData: scrubbing?.scrubData ?? false,
    scrubDefaults: scrubbing?.scrubDefaults ?? false,
    scrubIpAddresses: scrubbing?.scrubIpAddresses ?? false,
    sensitiveFields: scrubbing?.sensitiveFields ?? [],
    excludeFields: scrubbing?.excludeFields ?? [],
  };
}

function piiConfig(scrubbing: ScrubbingSettings | undefined): object | null {
  // Checked when it was set. What can't be read would make the whole answer unreadable, and the relay ask for ever.
  const read = readPiiConfig(scrubbing?.piiConfigJson ?? '');
  return read.kind === 'config' ? read.config : null;
}

const SCOPES: Partial<Record<ScopedQuota_Scope, string>> = {
  [ScopedQuota_Scope.ORGANIZATION]: 'organization',
  [ScopedQuota_Scope.PROJECT]: 'project',
  [ScopedQuota_Scope.KEY]: 'key',
};

function quotaOf({ scope, scopeId, quota }: ScopedQuota) {
  const name = SCOPES[scope];
  if (name === undefined || quota === undefined) return [];
  const { id, categories, limit, windowSec, reasonCode } = quota;
  // One number for all categories would mix events with bytes, which relays take as invalid.
  const isMixed = categories.length === 0 && limit !== undefined && limit > 0n;
  return [
    {
      id,
      categories: isMixed ? EVENT_CATEGORIES : categories,
      scope: name,
      scopeId: String(scopeId),
      limit: limit === undefined ? null : Number(limit),
      window: windowSec === 0 ? null : windowSec,
      reasonCode: reasonCode === '' ? null : reasonCode,
    },
  ];
}
