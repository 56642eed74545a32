/** What the intake's paths name. */
export type Target =
  | {
      readonly kind: 'envelope' | 'store' | 'security' | 'minidump';
      /** Undefined: of a legacy path without. */
      readonly projectId: bigint | undefined;
    }
  | { readonly kind: 'attachments'; readonly projectId: bigint; readonly eventId: string }
  | { readonly kind: 'live' }
  | { readonly kind: 'ready' };

/** Everything below it is the intake's, but what relays ask their upstream. */
const ROOT = '/api/';
const UPSTREAM = '/api/0/relays/';

/** Runs of slashes count as one. */
export function isIntakePath(path: string): boolean {
  const single = singleSlashes(path);
  return (single.startsWith(ROOT) && !single.startsWith(UPSTREAM)) || single === '/api';
}

/** With and without a slash at the end. Undefined: there is no such path. */
export function targetOf(path: string): Target | undefined {
  const single = singleSlashes(path);
  if (!single.startsWith(ROOT)) return undefined;
  const end = single.endsWith('/') ? single.length - 1 : single.length;
  const slash = single.indexOf('/', ROOT.length);
  const first = single.slice(ROOT.length, slash < 0 ? end : slash);
  const rest = slash < 0 || slash >= end ? '' : single.slice(slash + 1, end);
  if (!isProjectId(first)) return withoutProject(first, rest);
  return belowProject(BigInt(first), rest);
}

function belowProject(projectId: bigint, rest: string): Target | undefined {
  switch (rest) {
    case 'envelope':
    case 'store':
    case 'security':
    case 'minidump':
      return { kind: rest, projectId };
    case 'csp-report':
      return { kind: 'security', projectId };
    default: {
      const eventId = /^events\/([^/]+)\/attachments$/.exec(rest)?.[1];
      return eventId === undefined ? undefined : { kind: 'attachments', projectId, eventId };
    }
  }
}

function withoutProject(first: string, rest: string): Target | undefined {
  if (first === 'store' && rest === '') return { kind: 'store', projectId: undefined };
  if (first !== 'relay') return undefined;
  if (rest === 'healthcheck/live') return { kind: 'live' };
  return rest === 'healthcheck/ready' ? { kind: 'ready' } : undefined;
}

/** As many digits as a number of 64 bits may have. */
const MAX_PROJECT_ID_DIGITS = 19;

export function isProjectId(text: string): boolean {
  if (text.length === 0 || text.length > MAX_PROJECT_ID_DIGITS) return false;
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code < 0x30 || code > 0x39) return false;
  }
  return true;
}

function singleSlashes(path: string): string {
  return path.includes('//') ? path.replace(/\/{2,}/g, '/') : path;
}
