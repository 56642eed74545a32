import { expect, test } from 'vitest';
import { welcome } from './lib/welcome.mjs';

const where = { url: 'http://localhost:8080', devFile: '/x/dev.json', orgId: '1', channelId: 'c', dsn: undefined };

test.each([
  [undefined, 'npm run -s'],
  ['/var/tideway', 'TIDEWAY_DATA_DIR=/var/tideway npm run -s'],
  ["/my data/it's", "TIDEWAY_DATA_DIR='/my data/it'\\''s' npm run -s"],
])('with its data in %s, every command says where', (dataDir, command) => {
  const lines = welcome({ ...where, dataDir })
    .split('\n')
    .filter((line) => line.includes('npm run'));
  expect(lines).toEqual([
    `Or: ${command} listen -- --channel c`,
    `    ${command} publish -- --channel c hello`,
    `Organizations, projects, keys and tokens: ${command} admin -- --help`,
  ]);
});
