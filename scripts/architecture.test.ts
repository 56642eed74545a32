import { describe, expect, test } from 'vitest';
import { checkArchitecture } from './lib/architecture.mjs';

const dependencies = new Set(['jose', '@connectrpc/connect']);

function violations(path: string, source: string, ...others: { path: string; source: string }[]) {
  return checkArchitecture([{ path, source }, ...others], dependencies).violations;
}

describe('who may import whom', () => {
  test.each([
    ['services/stream/routes.ts', '#lib/broker/broker.ts'],
    ['services/stream/routes.ts', '#gen/tideway/stream/v1/message_pb.ts'],
    ['services/stream/routes.ts', './subscribe.ts'],
    ['services/monolith/main.ts', '../stream/routes.ts'],
    ['lib/server/gate.ts', '#lib/auth/key.ts'],
    ['lib/server/gate.ts', 'node:http'],
    ['lib/auth/key.ts', 'jose'],
    ['lib/server/rpc.ts', '@connectrpc/connect/protocol'],
    ['client/index.ts', '../gen/tideway/stream/v1/message_pb.ts'],
    ['console/main.js', '../client/index.js'],
    ['test/flows/a.test.ts', '../../services/stream/main.ts'],
    ['lib/server/gate.test.ts', 'vitest'],
  ])('%s may import %s', (path, specifier) => {
    expect(violations(path, `import { a } from '${specifier}';`)).toEqual([]);
  });

  test.each([
    ['lib/server/gate.ts', '../../services/stream/routes.ts', /must not know services\/stream/],
    ['services/stream/routes.ts', '../publish/routes.ts', /must not know services\/publish/],
    ['services/monolith/main.ts', '../publish/main.ts', /never imported/],
    ['gen/a_pb.ts', '#lib/server/gate.ts', /must not know lib/],
    ['lib/grpc-health/health.ts', '#lib/server/gate.ts', /must not know lib\/server/],
    ['lib/grpc-reflection/reflection.ts', '../server/gate.ts', /must not know lib\/server/],
    ['console/main.js', '#lib/server/gate.ts', /must not know lib/],
    ['services/stream/routes.ts', '../../lib/server/gate.ts', /from another room it is #lib\/server\/gate.ts/],
    ['lib/server/gate.ts', '#lib/server/env.ts', /relative/],
    ['lib/server/gate.ts', 'yaml', /not among the dependencies/],
    ['lib/server/gate.ts', '@connectrpc/connect-web', /not among the dependencies/],
  ])('%s must not import %s', (path, specifier, why) => {
    expect(violations(path, `import { a } from '${specifier}';`)).toEqual([expect.stringMatching(why)]);
  });

  test('what is shared by tests is for tests', () => {
    const suite = { path: 'lib/broker/suite.ts', source: "import { test } from 'vitest';" };
    expect(violations('lib/broker/a.test.ts', "import './suite.ts';", suite)).toEqual([]);
    expect(violations('lib/broker/broker.ts', "import './suite.ts';", suite)).toEqual([
      'lib/broker/broker.ts imports ./suite.ts: only tests import tests',
    ]);
    expect(violations('lib/broker/harness.ts', "import '../../test/support/redis.ts';")).toEqual([]);
    expect(violations('services/stream/main.ts', "import '../../test/support/redis.ts';")).toHaveLength(1);
    // By its name, where it uses none of a test's tools.
    expect(violations('lib/broker/follow-testing.ts', "import './suite.ts';", suite)).toEqual([]);
    const named = { path: 'lib/broker/follow-testing.ts', source: '' };
    expect(violations('lib/broker/broker.ts', "import './follow-testing.ts';", named)).toHaveLength(1);
  });
});

test.each([
  "import type { A } from 'yaml';",
  "import {\n  a,\n  b,\n} from 'yaml';",
  "export * from 'yaml';",
  "import 'yaml';",
  "const yaml = await import('yaml');",
  "import a from 'jose';\nimport b from 'yaml';",
])('finds the import in %j', (source) => {
  expect(violations('lib/server/a.ts', source)).toHaveLength(1);
});

test('reads no imports in comments', () => {
  expect(
    checkArchitecture([{ path: 'lib/a/a.ts', source: "// import 'yaml';\n/* from 'yaml' */" }], dependencies),
  ).toEqual({
    modules: 1,
    imports: 0,
    violations: [],
  });
});

test.each([
  ['services/stream/main.ts', true],
  ['cli/publish.ts', true],
  ['envoy/render.ts', true],
  ['scripts/start.mjs', true],
  ['test/support/edge.ts', true],
  ['services/stream/routes.ts', false],
  ['lib/server/env.ts', false],
  ['envoy/config.ts', false],
])('%s may read the environment: %s', (path, allowed) => {
  expect(violations(path, 'const { PORT } = process.env;')).toHaveLength(allowed ? 0 : 1);
});
