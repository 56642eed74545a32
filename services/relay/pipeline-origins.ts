/** One of a project's allowed domains: `example.com`, `*.example.com`, `https://example.com`, `example.com:8080` … */
interface DomainPattern {
  readonly scheme: string | undefined;
  readonly host: string;
  readonly port: string | undefined;
}

const FORM = /^(?:([a-z*][a-z0-9+.-]*):\/\/)?(\[[0-9a-f:.]+\]|[^/:?#\s]*)(?::(\d{1,5}|\*))?(?:[/?#].*)?$/;
const DEFAULT_PORTS: Readonly<Record<string, string>> = { http: '80', https: '443' };
const ANY = '*';

const compiled = new WeakMap<readonly string[], readonly DomainPattern[]>();

/**
 * Whether a page of an origin, or what a Referer names, may send to a project. What has no origin is no page. `*.` before a
 * domain is for it and everything below it; a scheme and a port count where they are given.
 */
export function isOriginAllowed(allowedDomains: readonly string[], origin: string | undefined): boolean {
  if (origin === undefined || origin === '') return true;
  // Nearly all projects have this one.
  if (allowedDomains[0] === ANY || allowedDomains.includes(ANY)) return true;
  if (allowedDomains.length === 0) return false;
  const url = URL.parse(origin);
  if (url === null) return false;
  const scheme = url.protocol.slice(0, -1);
  const port = url.port === '' ? DEFAULT_PORTS[scheme] : url.port;
  return patternsOf(allowedDomains).some(
    (pattern) =>
      (pattern.scheme === undefined || pattern.scheme === ANY || pattern.scheme === scheme) &&
      (pattern.port === undefined || pattern.port === ANY || pattern.port === port) &&
      isHostAllowed(pattern.host, url.hostname.toLowerCase()),
  );
}

function isHostAllowed(pattern: string, host: string): boolean {
  if (pattern === ANY || pattern === host) return true;
  return pattern.startsWith('*.') && (host.endsWith(pattern.slice(1)) || host === pattern.slice(2));
}

function patternsOf(allowedDomains: readonly string[]): readonly DomainPattern[] {
  const found = compiled.get(allowedDomains);
  if (found !== undefined) return found;
  const patterns = allowedDomains.flatMap((text) => {
    const [, scheme, host = '', port] = FORM.exec(text.trim().toLowerCase()) ?? [];
    return host === '' ? [] : [{ scheme, host, port }];
  });
  compiled.set(allowedDomains, patterns);
  return patterns;
}
