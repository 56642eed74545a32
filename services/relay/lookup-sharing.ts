import { type DescMessage, type MessageShape, toBinary } from '@bufbuild/protobuf';
import { LRUCache } from 'lru-cache';
import { type ProjectConfig, ScopedQuota_Scope, ScopedQuotaSchema } from '#gen/tideway/config/v1/config_service_pb.ts';
import { FilterSettingsSchema, QuotaSchema, ScrubbingSettingsSchema } from '#gen/tideway/control/v1/resources_pb.ts';

/** Larger ones are rarely the same as others. */
const MAX_SHARED_BYTES = 1_024;
const MAX_SHARED = 4_096;

/**
 * Makes configs of many projects hold the same objects where they say the same: most projects have the settings that
 * projects begin with, and what their organization's others have. Configs are never changed, so nobody notices.
 */
export class SharedSettings {
  readonly #known = new LRUCache<string, object>({ max: MAX_SHARED });

  /** In place. */
  share(config: ProjectConfig): void {
    const { filters, scrubbing, allowedDomains, quotas } = config;
    if (filters !== undefined) config.filters = this.#message(FilterSettingsSchema, filters);
    if (scrubbing !== undefined) config.scrubbing = this.#message(ScrubbingSettingsSchema, scrubbing);
    config.allowedDomains = this.#one(JSON.stringify(allowedDomains), allowedDomains);
    config.quotas =
      quotas.length === 0
        ? NONE
        : quotas.map((scoped) => {
            if (scoped.scope === ScopedQuota_Scope.ORGANIZATION) return this.#message(ScopedQuotaSchema, scoped);
            if (scoped.quota !== undefined) scoped.quota = this.#message(QuotaSchema, scoped.quota);
            return scoped;
          });
  }

  #message<Desc extends DescMessage>(schema: Desc, message: MessageShape<Desc>): MessageShape<Desc> {
    return this.#one(`${schema.typeName} ${Buffer.from(toBinary(schema, message)).toString('latin1')}`, message);
  }

  #one<T extends object>(text: string, value: T): T {
    if (text.length > MAX_SHARED_BYTES) return value;
    const known = this.#known.get(text);
    // The text begins with the kind.
    if (known !== undefined) return known as T;
    this.#known.set(text, value);
    return value;
  }
}

const NONE: ProjectConfig['quotas'] = [];
