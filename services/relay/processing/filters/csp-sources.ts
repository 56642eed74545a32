import type { PlainFilters } from '../../processing.ts';
import { isObject } from '../json.ts';
import type { Filter } from './filter.ts';

interface Source {
  /** Undefined: any. */
  readonly scheme: string | undefined;
  /** `*`: any; `.domain`: it and all below. */
  readonly domain: string;
  readonly port: string | undefined;
}

const FIELDS = ['blocked_uri', 'source_file', 'document_uri'] as const;

/** Reports about sources that a page's owner knows of: `scheme://domain:port`, of which each part may be left out or `*`. */
export function cspSources({ cspDisallowedSources: patterns }: PlainFilters): Filter | undefined {
  const sources = patterns.map(parse).filter((source) => source !== undefined);
  if (sources.length === 0) return undefined;
  return ({ csp }) =>
    isObject(csp) &&
    FIELDS.some((field) => {
      const value = csp[field];
      return typeof value === 'string' && sources.some((source) => isOf(source, value));
    });
}

function isOf(source: Source, value: string): boolean {
  const found = parse(value);
  if (found === undefined) return false;
  if (source.scheme !== undefined && source.scheme !== found.scheme) return false;
  if (source.port !== undefined && source.port !== found.port) return false;
  if (source.domain === '*') return true;
  if (!source.domain.startsWith('.')) return source.domain === found.domain;
  return found.domain === source.domain.slice(1) || found.domain.endsWith(source.domain);
}

/** Undefined: nothing. */
function parse(value: string): Source | undefined {
  const text = value.trim().toLowerCase();
  if (text === '') return undefined;
  const separator = text.indexOf('://');
  // `data:` and the like have no domain.
  if (separator === -1 && /^[a-z][a-z0-9+.-]*:$/.test(text))
    return { scheme: text.slice(0, -1), domain: '*', port: undefined };
  const scheme = separator === -1 ? undefined : text.slice(0, separator);
  const rest = separator === -1 ? text : text.slice(separator + 3);
  const end = rest.search(/[/?#]/);
  const authority = end === -1 ? rest : rest.slice(0, end);
  const [, host = authority, port] = /^(.*?)(?::(\d{1,5}|\*))?$/.exec(authority) ?? [];
  const domain = host.startsWith('*.') ? host.slice(1) : host === '' ? '*' : host;
  return {
    scheme: scheme === '*' ? undefined : scheme,
    domain,
    port: port === '*' ? undefined : port,
  };
}
