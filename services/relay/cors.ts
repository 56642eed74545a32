/** What every answer says: any page may read it, and which headers of it. */
export const CORS_HEADERS = [
  'cross-origin-resource-policy',
  'cross-origin',
  'access-control-allow-origin',
  '*',
  'access-control-expose-headers',
  'x-sentry-error, x-sentry-rate-limits, retry-after',
] as const;

/** What a browser asks before it sends. */
export const PREFLIGHT_HEADERS = [
  ...CORS_HEADERS,
  'access-control-allow-methods',
  'POST',
  'access-control-allow-headers',
  [
    'x-sentry-auth',
    'x-requested-with',
    'x-forwarded-for',
    'origin',
    'referer',
    'accept',
    'content-type',
    'authentication',
    'authorization',
    'content-encoding',
    'transfer-encoding',
  ].join(', '),
  'access-control-max-age',
  '3600',
  'content-length',
  '0',
] as const;
