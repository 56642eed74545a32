import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { isLoopback } from './failure.ts';

/** Which edge a command talks to, for whom, and with what. */
export interface Target {
  /** Without a trailing slash. */
  readonly url: string;
  readonly orgId: bigint;
  readonly publishToken: string | undefined;
  readonly streamToken: string | undefined;
  readonly apiToken: string | undefined;
}

export interface TargetFlags {
  readonly url?: string | undefined;
  readonly org?: string | undefined;
  readonly token?: string | undefined;
}

/** The part of the environment that these commands read. */
export interface TargetEnv {
  readonly TIDEWAY_DATA_DIR?: string | undefined;
  readonly TIDEWAY_URL?: string | undefined;
  readonly TIDEWAY_ORG_ID?: string | undefined;
  readonly TIDEWAY_PUBLISH_TOKEN?: string | undefined;
  readonly TIDEWAY_STREAM_TOKEN?: string | undefined;
  readonly TIDEWAY_API_TOKEN?: string | undefined;
}

export type TargetResult =
  | { readonly kind: 'found'; readonly target: Target }
  | { readonly kind: 'unusable'; readonly why: string };

/**
 * A flag wins over the environment, and that over `dev.json`, which `npm start` writes. The tokens of `dev.json` go to
 * the edge that it names and to this machine, nowhere else: `--url` must not carry them to a stranger.
 */
export async function findTarget(
  flags: TargetFlags,
  tokenFlag: 'publish' | 'stream',
  env: TargetEnv,
): Promise<TargetResult> {
  const file = path.join(env.TIDEWAY_DATA_DIR || '.tideway', 'dev.json');
  const dev = await readDevFile(file);
  if (dev === 'invalid') return { kind: 'unusable', why: `${file} is not what \`npm start\` writes. Start it again.` };

  const url = flags.url ?? env.TIDEWAY_URL ?? dev?.edgeUrl;
  if (!url) {
    return {
      kind: 'unusable',
      why: `No edge to talk to: there is no ${file} (is \`npm start\` running?) and no --url.`,
    };
  }
  const edgeUrl = normalizeUrl(url);
  if (!edgeUrl) return { kind: 'unusable', why: '--url must look like http://127.0.0.1:8080.' };

  const org = flags.org ?? env.TIDEWAY_ORG_ID ?? dev?.orgId;
  const orgId = org === undefined ? undefined : parseUint64(org);
  if (org === undefined) return { kind: 'unusable', why: 'No organization: add --org.' };
  if (!orgId) return { kind: 'unusable', why: `--org must be a whole number above 0, not "${org}".` };

  const trusted = dev && (isLoopback(edgeUrl) || edgeUrl === normalizeUrl(dev.edgeUrl)) ? dev : undefined;
  const flagged = flags.token;
  return {
    kind: 'found',
    target: {
      url: edgeUrl,
      orgId,
      publishToken:
        env.TIDEWAY_PUBLISH_TOKEN || (tokenFlag === 'publish' ? flagged : undefined) || trusted?.publishToken,
      streamToken: env.TIDEWAY_STREAM_TOKEN || (tokenFlag === 'stream' ? flagged : undefined),
      apiToken: env.TIDEWAY_API_TOKEN || trusted?.apiToken,
    },
  };
}

/** A whole number from 0 to 2^64 − 1. */
export function parseUint64(text: string): bigint | undefined {
  if (!/^\d{1,20}$/.test(text)) return undefined;
  const value = BigInt(text);
  return value < 1n << 64n ? value : undefined;
}

export interface DevFile {
  readonly edgeUrl: string;
  readonly orgId: string;
  readonly publishToken: string | undefined;
  readonly apiToken: string | undefined;
  readonly operatorToken: string | undefined;
  readonly organization: string | undefined;
  readonly project: string | undefined;
}

/** What `npm start` wrote; undefined: nothing. */
export async function readDevFile(file: string): Promise<DevFile | 'invalid' | undefined> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch {
    return undefined;
  }
  try {
    const content: unknown = JSON.parse(text);
    if (typeof content !== 'object' || content === null) return 'invalid';
    const field = (name: string): string | undefined => {
      const value: unknown = Reflect.get(content, name);
      return typeof value === 'string' || typeof value === 'number' ? String(value) : undefined;
    };
    const edgeUrl = field('edge_url');
    const orgId = field('org_id');
    if (!edgeUrl || !normalizeUrl(edgeUrl) || !orgId) return 'invalid';
    return {
      edgeUrl,
      orgId,
      publishToken: field('publish_token'),
      apiToken: field('api_token'),
      operatorToken: field('operator_token'),
      organization: field('organization'),
      project: field('project'),
    };
  } catch {
    return 'invalid';
  }
}

/** Without a trailing slash; undefined: not one that a command can use. */
export function normalizeUrl(text: string): string | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || (url.protocol !== 'http:' && url.protocol !== 'https:')) return undefined;
  // A user and password in the URL would end up in every message that names it.
  if (url.username || url.password || url.search || url.hash) return undefined;
  return `${url.origin}${url.pathname.replace(/\/+$/, '')}`;
}
