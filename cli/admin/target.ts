import path from 'node:path';
import { isLoopback } from '../failure.ts';
import { normalizeUrl, readDevFile, type TargetEnv } from '../target.ts';

/** Which edge is managed, as whom, and what is meant where nothing is named. */
export interface AdminTarget {
  /** Without a trailing slash. */
  readonly url: string;
  readonly token: string;
  readonly organization: string | undefined;
  readonly project: string | undefined;
}

export type AdminTargetResult =
  | { readonly kind: 'found'; readonly target: AdminTarget }
  | { readonly kind: 'unusable'; readonly why: string };

/**
 * A flag wins over the environment, and that over `dev.json`, which `npm start` writes. What is secret in `dev.json` goes
 * to the edge that it names and to this machine, nowhere else.
 */
export async function findAdminTarget(
  flags: {
    readonly url?: string | undefined;
    readonly org?: string | undefined;
    readonly project?: string | undefined;
  },
  env: TargetEnv,
): Promise<AdminTargetResult> {
  const file = path.join(env.TIDEWAY_DATA_DIR || '.tideway', 'dev.json');
  const dev = await readDevFile(file);
  if (dev === 'invalid') return { kind: 'unusable', why: `${file} is not what \`npm start\` writes. Start it again.` };
  const text = flags.url ?? (env.TIDEWAY_URL || dev?.edgeUrl);
  if (!text) {
    return { kind: 'unusable', why: `No edge: there is no ${file} (is \`npm start\` running?) and no --url.` };
  }
  const url = normalizeUrl(text);
  if (!url) return { kind: 'unusable', why: '--url must look like http://127.0.0.1:8080.' };

  const trusted = dev && (isLoopback(url) || url === normalizeUrl(dev.edgeUrl)) ? dev : undefined;
  const token = env.TIDEWAY_API_TOKEN || trusted?.operatorToken || trusted?.apiToken;
  if (!token) return { kind: 'unusable', why: 'No token: set TIDEWAY_API_TOKEN.' };
  return {
    kind: 'found',
    target: {
      url,
      token,
      organization: flags.org ?? (env.TIDEWAY_ORG_ID || trusted?.organization),
      project: flags.project ?? trusted?.project,
    },
  };
}
