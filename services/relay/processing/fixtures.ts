import { RECEIVED_MS } from './testing.ts';

/** Events as SDKs send them: of their form and size; what they say is made up. */

const NOW = new Date(RECEIVED_MS - 1000).toISOString();

export const PYTHON_EVENT = {
  level: 'error',
  exception: {
    values: [
      {
        mechanism: { type: 'excepthook', handled: false },
        module: null,
        type: 'ZeroDivisionError',
        value: 'division by zero',
        stacktrace: {
          frames: [
            {
              filename: 'app.py',
              abs_path: '/srv/app/app.py',
              function: '<module>',
              module: '__main__',
              lineno: 12,
              pre_context: ['def divide(a, b):', '    return a / b', '', 'import sentry_sdk'],
              context_line: 'divide(1, 0)',
              post_context: [],
              vars: { divide: '<function divide at 0x7f00>', __name__: "'__main__'" },
              in_app: true,
            },
            {
              filename: 'app.py',
              abs_path: '/srv/app/app.py',
              function: 'divide',
              module: '__main__',
              lineno: 9,
              context_line: '    return a / b',
              vars: { a: '1', b: '0' },
              in_app: true,
            },
          ],
        },
      },
    ],
  },
  event_id: '4c79f60c11214eb38604f4ae0781bfb2',
  timestamp: NOW.replace('Z', '123Z'),
  contexts: {
    trace: { trace_id: 'fbcc1e5d1fd84d6cb5d1c24c4ba9e63b', span_id: 'a2d4d5a5b7c5e6f7', parent_span_id: null },
    runtime: { name: 'CPython', version: '3.12.3', build: '3.12.3 (main)' },
  },
  transaction_info: {},
  breadcrumbs: {
    values: [{ type: 'log', level: 'info', category: 'app', message: 'starting', timestamp: NOW, data: {} }],
  },
  extra: { 'sys.argv': ['app.py'] },
  modules: { 'sentry-sdk': '2.20.0', certifi: '2024.2.2', urllib3: '2.2.1' },
  release: '5d1c24c4ba9e63b',
  environment: 'production',
  server_name: 'web-1',
  sdk: {
    name: 'sentry.python',
    version: '2.20.0',
    packages: [{ name: 'pypi:sentry-sdk', version: '2.20.0' }],
    integrations: ['argv', 'logging'],
  },
  platform: 'python',
};

export const JAVASCRIPT_EVENT = {
  exception: {
    values: [
      {
        type: 'TypeError',
        value: "Cannot read properties of undefined (reading 'name')",
        stacktrace: {
          frames: [
            {
              filename: 'https://shop.example.com/js/app.js',
              function: 'HTMLButtonElement.onclick',
              in_app: true,
              lineno: 1,
              colno: 10_233,
            },
            {
              filename: 'https://shop.example.com/js/app.js',
              function: 'checkout',
              in_app: true,
              lineno: 1,
              colno: 8_120,
            },
          ],
        },
        mechanism: {
          type: 'auto.browser.browserapierrors.addEventListener',
          handled: false,
          data: { handler: 'onclick', target: 'EventTarget' },
        },
      },
    ],
  },
  event_id: 'aa79f60c11214eb38604f4ae0781bfb2',
  level: 'error',
  platform: 'javascript',
  contexts: {
    trace: { trace_id: '3f2fa3b4c1d84d6cb5d1c24c4ba9e63b', span_id: '92f4d5a5b7c5e6f7' },
    culture: { locale: 'en-US', timezone: 'Europe/Berlin' },
  },
  request: {
    url: 'https://shop.example.com/checkout?step=2',
    headers: {
      Referer: 'https://shop.example.com/',
      'User-Agent':
        'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36',
    },
  },
  timestamp: (RECEIVED_MS - 1000) / 1000,
  environment: 'production',
  release: 'shop@1.4.2',
  tags: { plan: 'pro' },
  user: { id: 4711, plan: 'pro' },
  sdk: {
    settings: { infer_ip: 'auto' },
    integrations: ['InboundFilters', 'BrowserApiErrors', 'Breadcrumbs', 'GlobalHandlers', 'HttpContext'],
    name: 'sentry.javascript.browser',
    version: '10.1.0',
    packages: [{ name: 'npm:@sentry/browser', version: '10.1.0' }],
  },
  breadcrumbs: [
    { timestamp: (RECEIVED_MS - 5000) / 1000, category: 'ui.click', message: 'body > button#pay' },
    {
      timestamp: (RECEIVED_MS - 2000) / 1000,
      category: 'fetch',
      type: 'http',
      data: { method: 'GET', url: '/api/cart', status_code: 200 },
    },
  ],
};

export const GO_EVENT = {
  contexts: {
    device: { arch: 'amd64', num_cpu: 2 },
    os: { name: 'linux' },
    runtime: { name: 'go', version: 'go1.24.0', go_maxprocs: 2, go_numroutines: 3 },
    trace: { trace_id: '5a2fa3b4c1d84d6cb5d1c24c4ba9e63b', span_id: '12f4d5a5b7c5e6f7' },
  },
  event_id: 'cc79f60c11214eb38604f4ae0781bfb2',
  level: 'error',
  platform: 'go',
  release: 'v1.2.0',
  sdk: {
    name: 'sentry.go',
    version: '0.31.1',
    integrations: ['ContextifyFrames'],
    packages: [{ name: 'sentry-go', version: '0.31.1' }],
  },
  server_name: 'go-1',
  user: {},
  modules: { 'github.com/getsentry/sentry-go': 'v0.31.1' },
  exception: [
    {
      type: '*errors.errorString',
      value: 'out of cheese',
      stacktrace: {
        frames: [
          {
            function: 'main',
            module: 'main',
            abs_path: '/srv/main.go',
            lineno: 23,
            context_line: '\tpanic(err)',
            in_app: true,
          },
        ],
      },
    },
  ],
  timestamp: NOW.replace('Z', '456789Z'),
};
