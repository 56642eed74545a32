/**
 * Where the page is that makes a browser send this: of ours, of somebody else's, or nobody says. A browser's word can't be
 * forged by a page; what is not a browser needs no protection from pages.
 *
 * `sec-fetch-site` says it outright, to https and to this machine. Older browsers, and plain http, have `origin` alone,
 * which is compared with our own where that is known.
 */
export function pageOrigin(headers: Headers, ownOrigin: string | undefined): 'own' | 'other' | 'unknown' {
  const site = headers.get('sec-fetch-site');
  if (site !== null) return site === 'same-origin' || site === 'none' ? 'own' : 'other';
  const origin = headers.get('origin');
  if (origin === null) return 'unknown';
  return ownOrigin !== undefined && origin === ownOrigin ? 'own' : 'other';
}
