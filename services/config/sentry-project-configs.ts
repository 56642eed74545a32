import type { ConfigCache } from '#lib/config-cache/config-cache.ts';
import { decodeConfig } from '#lib/config-cache/config-entry.ts';
import type { HttpRoute } from '#lib/server/http-route.ts';
import { Refusal } from '#lib/server/refusal.ts';
import { CATCH_UP_MS, LOOKUP_WAIT_MS, MAX_RESPONSE_BYTES } from './get-project-configs.ts';
import { limited } from './limited-config.ts';
import { readPublicKey } from './public-key.ts';
import type { Relays } from './relays.ts';
import { SentryRefusal, signedRoute } from './sentry-http.ts';
import { projectState } from './sentry-project-state.ts';

/** The protocol's version that is spoken here. */
const VERSION = 3;

/** `POST /api/0/relays/projectconfigs/?version=3`: what a Sentry relay asks its upstream. */
export function projectConfigsRoute(cache: ConfigCache, relays: Relays): HttpRoute {
  return signedRoute('api/0/relays/projectconfigs', async (signed) => {
    const relay = signed.requireRelay(relays);
    if (signed.call.query.get('version') !== String(VERSION)) {
      throw new SentryRefusal(400, `only version ${VERSION} of this endpoint is supported`);
    }
    const request = readRequest(signed.json());
    if (request.isFull && !relay.isTrusted) throw new SentryRefusal(403, 'full configs are for trusted relays only');
    return {
      ...(await answer(cache, request)),
      // There is nothing that all projects share: relays take the defaults.
      ...(request.wantsGlobal ? { global: {}, globalStatus: 'ready' } : {}),
    };
  });
}

interface ProjectConfigsRequest {
  readonly keys: readonly { readonly publicKey: string; readonly revision: string | undefined }[];
  readonly isFull: boolean;
  readonly isNoCache: boolean;
  readonly wantsGlobal: boolean;
}

interface ProjectConfigsAnswer {
  readonly configs: Record<string, unknown>;
  readonly pending: string[];
  readonly unchanged: string[];
}

/** Keys that can't be any are skipped. Revisions count only where there is one for each key. @throws SentryRefusal */
function readRequest(json: Readonly<Record<string, unknown>>): ProjectConfigsRequest {
  const { publicKeys, revisions, fullConfig, noCache, global } = json;
  if (!Array.isArray(publicKeys)) throw new SentryRefusal(400, 'publicKeys must be a list');
  const known: unknown[] = Array.isArray(revisions) && revisions.length === publicKeys.length ? revisions : [];
  return {
    keys: publicKeys.flatMap((text: unknown, at) => {
      const publicKey = typeof text === 'string' ? readPublicKey(text) : undefined;
      const revision = known[at];
      return publicKey === undefined
        ? []
        : [{ publicKey, revision: typeof revision === 'string' ? revision : undefined }];
    }),
    isFull: fullConfig === true,
    isNoCache: noCache === true,
    wantsGlobal: global === true,
  };
}

async function answer(cache: ConfigCache, request: ProjectConfigsRequest): Promise<ProjectConfigsAnswer> {
  // What is cached is current once this process has caught up, so nothing has to be loaded for it.
  if (request.isNoCache) await cache.catchUp(CATCH_UP_MS);
  const lookups = await cache.lookup(
    request.keys.map(({ publicKey }) => publicKey),
    LOOKUP_WAIT_MS,
  );
  const values = [...lookups.values()];
  if (values.length > 0 && values.every(({ kind }) => kind === 'unavailable')) throw new Refusal('store_away');

  const configs: Record<string, unknown> = {};
  const pending = new Set<string>();
  const unchanged = new Set<string>();
  let sizeBytes = 0;
  for (const { publicKey, revision } of request.keys) {
    const lookup = lookups.get(publicKey);
    switch (lookup?.kind) {
      case 'config':
        if (String(lookup.revision) === revision) unchanged.add(publicKey);
        else if (sizeBytes > 0 && sizeBytes + lookup.bytes.byteLength > MAX_RESPONSE_BYTES) pending.add(publicKey);
        else {
          sizeBytes += lookup.bytes.byteLength;
          const config = decodeConfig(lookup.bytes);
          configs[publicKey] = projectState(request.isFull ? config : limited(config), publicKey);
        }
        break;
      case 'disabled':
      case 'unknown':
        configs[publicKey] = null;
        break;
      default:
        pending.add(publicKey);
    }
  }
  return { configs, pending: [...pending], unchanged: [...unchanged] };
}
