import { readFile } from 'node:fs/promises';
import { type HttpRoute, sendJson } from '#lib/server/http-route.ts';
import { headerOf, type NodeServerRequest } from '#lib/server/node-http.ts';
import { Refusal } from '#lib/server/refusal.ts';
import type { ServiceParts } from '#lib/server/run-service.ts';
import type { DevelopmentFile } from './development-file.ts';

const CONSOLE = new URL('../../console/', import.meta.url);
const CONTENT_TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml',
};
const LOCAL_NAMES = new Set(['localhost', '127.0.0.1', '[::1]']);

/**
 * The demo page, in development only: it holds a publish token, so it is for this machine's browser and nobody else.
 * `dataDir`: where it is set; the commands that the page shows would not know of it.
 */
export function developmentPage(file: DevelopmentFile, dataDir: string | undefined): ServiceParts {
  const page: HttpRoute = {
    methods: ['GET', 'HEAD'],
    path: /^\/(?:console\/(?<name>[a-z0-9-]+\.(?:html|js|css|svg)))?$/,
    cors: false,
    async handle({ response, params }) {
      const name = params['name'] ?? 'index.html';
      const body = await readFile(new URL(name, CONSOLE)).catch(() => {
        throw new Refusal('not_found');
      });
      response.writeHead(200, {
        'Content-Type': CONTENT_TYPES[name.slice(name.lastIndexOf('.') + 1)] ?? 'text/plain',
        'Content-Length': body.byteLength,
        'Cache-Control': 'no-cache',
        'Content-Security-Policy': "default-src 'self'; frame-ancestors 'none'",
        'X-Content-Type-Options': 'nosniff',
      });
      response.end(body);
    },
  };
  const tokens: HttpRoute = {
    methods: ['GET'],
    path: /^\/console\/dev\.json$/,
    cors: false,
    handle({ request, response }) {
      requireLocalName(request);
      response.setHeader('Cache-Control', 'no-store');
      sendJson(response, 200, { org_id: file.org_id, publish_token: file.publish_token, data_dir: dataDir });
    },
  };
  return { services: [], rpc() {}, http: [page, tokens] };
}

/** A page of another site whose name was made to resolve to this machine must not read the token. */
function requireLocalName(request: NodeServerRequest): void {
  const authority = headerOf(request, ':authority') ?? headerOf(request, 'host') ?? '';
  if (!LOCAL_NAMES.has(authority.replace(/:\d+$/, ''))) throw new Refusal('not_found');
}
