import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describeKills } from './consumers-kills.ts';

describeKills('on SQLite', {
  rounds: 4,
  maxLifeMs: 300,
  newSpace: async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'tideway-kills-'));
    return {
      data: { log: { dataDir }, store: { dataDir } },
      [Symbol.asyncDispose]: () => rm(dataDir, { recursive: true, force: true }),
    };
  },
});
