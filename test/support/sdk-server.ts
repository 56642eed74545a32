import { createReadStream, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join, normalize } from 'node:path';
import { root } from '../../scripts/lib/project.mjs';

/** A web application that reports its errors by Sentry's browser SDK, as npm has it: no bundler between. */
export interface SdkPage {
  readonly origin: string;
  stop(): Promise<void>;
}

const PACKAGES = {
  '@sentry/browser': '@sentry/browser/build/npm/esm/prod/index.js',
  '@sentry/browser-utils': entryOf('@sentry/browser-utils', '.'),
  '@sentry/core': entryOf('@sentry/core', '.'),
  '@sentry/core/browser': entryOf('@sentry/core', './browser'),
  '@sentry/conventions/attributes': entryOf('@sentry/conventions', './attributes'),
  '@sentry/feedback': entryOf('@sentry/feedback', '.'),
  '@sentry/replay': entryOf('@sentry/replay', '.'),
  '@sentry/replay-canvas': entryOf('@sentry/replay-canvas', '.'),
};

/** @param script What the page runs, as a module that may import `@sentry/browser`. */
export async function serveSdkPage(script: string): Promise<SdkPage> {
  const imports = Object.fromEntries(Object.entries(PACKAGES).map(([name, path]) => [name, `/packages/${path}`]));
  const html = `<!doctype html><title>app</title>
    <script type="importmap">${JSON.stringify({ imports })}</script>
    <script type="module">${script}</script>`;
  const server = createServer((request, response) => {
    const path = normalize(new URL(request.url ?? '/', 'http://page').pathname);
    if (!path.startsWith('/packages/')) {
      response.writeHead(200, { 'content-type': 'text/html' }).end(html);
      return;
    }
    const file = createReadStream(join(root, 'node_modules', path.slice('/packages/'.length)));
    response.setHeader('content-type', 'text/javascript');
    file.on('error', () => response.writeHead(404).end()).pipe(response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** Which file browsers get for an import, by the package's own word. */
function entryOf(name: string, subpath: string): string {
  const { exports } = JSON.parse(readFileSync(join(root, 'node_modules', name, 'package.json'), 'utf8'));
  let target: unknown = exports[subpath];
  while (typeof target === 'object' && target !== null) {
    const by = target as Record<string, unknown>;
    target = by['production'] ?? by['browser'] ?? by['import'] ?? by['default'];
  }
  if (typeof target !== 'string') throw new Error(`${name} has no entry ${subpath} for browsers`);
  return join(name, target);
}
