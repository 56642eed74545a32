import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { expect, onTestFinished, test } from 'vitest';
import { Env } from '#lib/server/env.ts';
import { Gate } from '#lib/server/gate.ts';
import { runService } from '#lib/server/run-service.ts';
import { createLogger } from '#lib/telemetry/logger.ts';
import { until } from '../../test/support/until.ts';
import { AUTH, connectionsAreRefused, EVENT_ID, KEY } from './http-testing.ts';
import { projectConfig, TestLog } from './pipeline-testing.ts';
import type { ConfigSource } from './project-cache.ts';
import { relayService } from './relay.ts';
import { relaySettings } from './settings.ts';

const ENVELOPE = `{"event_id":"${EVENT_ID}"}\n{"type":"event"}\n{}\n`;

test('what is being received when a drain begins is taken, and in the log before it ends', async () => {
  const log = new TestLog();
  const source: ConfigSource = {
    lookup: async (keys) =>
      keys.map(({ publicKey }) =>
        publicKey === KEY ? { kind: 'enabled', config: projectConfig({ revision: 1n }) } : { kind: 'disabled' },
      ),
    close() {},
  };
  const logger = createLogger('relay', 'silent');
  const settings = relaySettings(new Env({ NODE_ENV: 'production', RELAY_TOKEN: 'a'.repeat(32) }), undefined);
  const relay = relayService({ gate: new Gate({}), log, source, redis: {}, settings, logger });
  const running = await runService({
    ...{ host: '127.0.0.1', port: 0, parts: [relay], reflection: false, logger },
    drainTimeoutMs: 20_000,
  });
  onTestFinished(() => running.stop());

  const socket = connect(running.port, '127.0.0.1');
  onTestFinished(() => void socket.destroy());
  const answer = text(socket);
  const headers = Object.entries({ Host: 'a', ...AUTH, 'Content-Length': ENVELOPE.length });
  const head = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  socket.write(`POST /api/2/envelope/ HTTP/1.1\r\n${head}\r\n${ENVELOPE.slice(0, -1)}`);
  await until('it is connected', () => !socket.pending);
  const stopped = running.stop();
  await until('no more are let in', () => connectionsAreRefused(`http://127.0.0.1:${running.port}`));
  // Whatever else a drain does at once is done.
  await new Promise((resolve) => setTimeout(resolve, 100));
  socket.write(ENVELOPE.slice(-1));
  expect(await answer).toMatch(/^HTTP\/1.1 200 /);
  await stopped;
  expect(log.messages()).toMatchObject([{ eventId: EVENT_ID }]);
});
