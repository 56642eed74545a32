import { hostOfUrl } from './filters/localhost.ts';
import { getOwn, isObject, type JsonObject, parseJson, textOf } from './json.ts';

/** One request's; the rest is refused. */
export const MAX_REPORTS = 100;

export type SecurityReport =
  | { readonly kind: 'event'; readonly event: JsonObject }
  /** It is none that is known here. */
  | { readonly kind: 'unknown' };

/** What a browser reports of a page's security policies, as events. Undefined: it is no JSON. */
export function readSecurityReports(payload: Uint8Array): readonly SecurityReport[] | undefined {
  const sent = parseJson(payload);
  if (sent === undefined) return undefined;
  return (Array.isArray(sent) ? sent : [sent]).map(readReport);
}

function readReport(sent: unknown): SecurityReport {
  if (!isObject(sent)) return { kind: 'unknown' };
  const csp = readCsp(sent);
  if (csp !== undefined) return { kind: 'event', event: cspEvent(csp, textOf(sent['user_agent'])) };
  const certificates =
    certificateEvent(sent['expect-ct-report'], 'expectct', 'Expect-CT') ??
    certificateEvent(sent['expect-staple-report'], 'expectstaple', 'Expect-Staple') ??
    certificateEvent(Object.hasOwn(sent, 'known-pins') ? sent : undefined, 'hpkp', 'Public key pinning');
  return certificates === undefined ? { kind: 'unknown' } : { kind: 'event', event: certificates };
}

/** By the names of the older form, with underscores; those of the Reporting API are brought to them. */
function readCsp(sent: JsonObject): JsonObject | undefined {
  const old = sent['csp-report'];
  if (isObject(old)) return withUnderscores(old);
  const body = sent['body'];
  if (sent['type'] !== 'csp-violation' || !isObject(body)) return undefined;
  const csp: JsonObject = {};
  for (const [key, value] of Object.entries(body)) {
    const name = REPORTING_API.get(key);
    if (name !== undefined) csp[name] = value;
  }
  csp['document_uri'] ??= sent['url'];
  return csp;
}

const REPORTING_API: ReadonlyMap<string, string> = new Map([
  ['documentURL', 'document_uri'],
  ['blockedURL', 'blocked_uri'],
  ['effectiveDirective', 'effective_directive'],
  ['originalPolicy', 'original_policy'],
  ['disposition', 'disposition'],
  ['statusCode', 'status_code'],
  ['sample', 'script_sample'],
  ['sourceFile', 'source_file'],
  ['lineNumber', 'line_number'],
  ['columnNumber', 'column_number'],
  ['referrer', 'referrer'],
]);

/** What is blocked by which directive, in a reader's words. */
const BLOCKED: ReadonlyMap<string, string> = new Map([
  ['script-src', 'script'],
  ['script-src-elem', 'script'],
  ['script-src-attr', 'script'],
  ['style-src', 'style'],
  ['style-src-elem', 'style'],
  ['style-src-attr', 'style'],
  ['img-src', 'image'],
  ['font-src', 'font'],
  ['media-src', 'media'],
  ['object-src', 'object'],
  ['frame-src', 'frame'],
  ['child-src', 'child'],
  ['worker-src', 'worker'],
  ['connect-src', 'connect'],
  ['manifest-src', 'manifest'],
  ['form-action', 'form'],
  ['base-uri', 'base'],
  ['frame-ancestors', 'frame'],
]);

/** Not places: how a page does itself what its policy forbids. */
const PAGES_OWN: ReadonlyMap<string, string> = new Map([
  ['inline', 'inline'],
  ['eval', 'unsafe eval()'],
  ['wasm-eval', 'unsafe eval()'],
]);

function cspEvent(csp: JsonObject, userAgent: string | undefined): JsonObject {
  const violated = textOf(csp['violated_directive']) ?? '';
  const directive = textOf(csp['effective_directive']) || violated.split(/\s/, 1)[0] || '';
  if (directive !== '') csp['effective_directive'] = directive;
  const blocked = textOf(csp['blocked_uri']) ?? '';
  const what = BLOCKED.get(directive) ?? (directive || 'resource');
  return {
    logger: 'csp',
    level: 'info',
    csp,
    logentry: { formatted: cspMessage(what, blocked, textOf(csp['document_uri']) ?? '') },
    culprit: violated || directive,
    request: requestOf(csp['document_uri'], csp['referrer'], userAgent),
    tags: tagsOf({ 'effective-directive': directive, 'blocked-uri': blocked }),
  };
}

function cspMessage(what: string, blocked: string, document: string): string {
  const own = PAGES_OWN.get(blocked);
  if (own !== undefined) return `Blocked ${own} '${what}'`;
  const host = hostOfUrl(blocked);
  if (blocked === 'self' || (host !== '' && host === hostOfUrl(document))) return `Blocked '${what}' from 'self'`;
  // `data`, `blob` and the like have no host; where nothing is said, the page did it itself.
  const from = host || (blocked.length <= 64 ? blocked : '');
  return from === '' ? `Blocked '${what}'` : `Blocked '${what}' from '${from}'`;
}

/** Undefined: it is none of that kind. */
function certificateEvent(sent: unknown, type: string, name: string): JsonObject | undefined {
  if (!isObject(sent)) return undefined;
  const report = withUnderscores(sent);
  const host = textOf(report['hostname']) ?? '';
  const port = textOf(report['port']);
  return {
    logger: type,
    level: 'error',
    [type]: report,
    logentry: { formatted: host === '' ? `${name} failed` : `${name} failed for '${host}'` },
    culprit: host,
    request: requestOf(host === '' ? undefined : `https://${host}`, undefined, undefined),
    tags: tagsOf({ hostname: host, port: port ?? '' }),
  };
}

function withUnderscores(report: JsonObject): JsonObject {
  return Object.fromEntries(Object.keys(report).map((key) => [key.replaceAll('-', '_'), getOwn(report, key)]));
}

function requestOf(url: unknown, referrer: unknown, userAgent: string | undefined): JsonObject | undefined {
  const headers: [string, string][] = [];
  if (userAgent !== undefined && userAgent !== '') headers.push(['User-Agent', userAgent]);
  const referer = textOf(referrer) ?? '';
  if (referer !== '') headers.push(['Referer', referer]);
  const text = textOf(url) ?? '';
  if (text === '' && headers.length === 0) return undefined;
  return { url: text === '' ? undefined : text, headers: headers.length === 0 ? undefined : headers };
}

function tagsOf(tags: Readonly<Record<string, string>>): [string, string][] {
  return Object.entries(tags).filter(([, value]) => value !== '');
}
