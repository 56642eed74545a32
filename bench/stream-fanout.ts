import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { type Access, FACES, type FaceName, type Job, type Measured } from './stream-typed-load.ts';

// `node bench/stream-fanout.ts [--faces=…] [--listeners=1000] [--channels=10] [--rate=100] [--seconds=8] [--rounds=2]`: CPU
// of the server a delivery, for each face of a stream and for a bare node:http loop, one after the other in one run; with
// `--idle`, what a listener that hears nothing takes of the server's memory.

const { values } = parseArgs({
  options: {
    faces: { type: 'string', default: Object.keys(FACES).join(',') },
    listeners: { type: 'string', default: '1000' },
    channels: { type: 'string', default: '10' },
    rate: { type: 'string', default: '100' },
    seconds: { type: 'string', default: '8' },
    rounds: { type: 'string', default: '2' },
    'per-connection': { type: 'string', default: '100' },
    server: { type: 'string', default: 'bench/stream-server.ts' },
    idle: { type: 'boolean', default: false },
  },
});
const [listeners, channels, rate] = [Number(values.listeners), Number(values.channels), Number(values.rate)];
const faces = values.faces.split(',') as FaceName[];

/** Of user and system time. Linux counts in hundredths of a second. */
function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

function residentKiB(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}

/** A child that ends before it has said anything has failed. */
async function ended(child: ChildProcess): Promise<never> {
  await once(child, 'exit');
  throw new Error('a process of this benchmark ended early');
}

async function startServer(face: FaceName): Promise<{ child: ChildProcess; pid: number; access: Access }> {
  const child = fork(values.server, [face === 'bare' ? 'bare' : 'tideway', String(channels)], {
    execArgv: values.idle ? ['--expose-gc'] : [],
  });
  const [access] = (await Promise.race([once(child, 'message'), ended(child)])) as [Access];
  return { child, pid: child.pid ?? 0, access };
}

async function run(face: FaceName): Promise<{ cpuUs: number; measured: Measured }> {
  const server = await startServer(face);
  const client = fork('bench/stream-typed-load.ts', ['load']);
  const job: Job = {
    access: server.access,
    face,
    listeners,
    messagesPerSec: rate,
    warmUpMs: 3_000,
    measuredMs: Number(values.seconds) * 1000,
    listenersPerConnection: Number(values['per-connection']),
  };
  client.send(job);
  let before = 0;
  for (;;) {
    const [said] = (await Promise.race([once(client, 'message'), ended(client)])) as [string | Measured];
    if (said === 'measuring') before = cpuMs(server.pid);
    if (typeof said === 'string') continue;
    const cpuUs = ((cpuMs(server.pid) - before) * 1000) / said.deliveries;
    server.child.kill('SIGKILL');
    client.kill('SIGKILL');
    return { cpuUs, measured: said };
  }
}

async function idle(face: FaceName): Promise<number> {
  const server = await startServer(face);
  await delay(1_500);
  const before = residentKiB(server.pid);
  const client = fork('bench/stream-typed-load.ts', ['load']);
  const job: Job = {
    access: server.access,
    face,
    listeners,
    messagesPerSec: 0,
    warmUpMs: 0,
    measuredMs: 20_000,
    listenersPerConnection: Number(values['per-connection']),
  };
  client.send(job);
  await Promise.race([once(client, 'message'), ended(client)]);
  await delay(17_000);
  const each = (residentKiB(server.pid) - before) / listeners;
  server.child.kill('SIGKILL');
  client.kill('SIGKILL');
  return each;
}

for (let round = 0; round < Number(values.rounds); round++) {
  for (const face of faces) {
    if (values.idle) {
      console.log(face.padEnd(16), (await idle(face)).toFixed(1), 'KiB a listener');
      continue;
    }
    const { cpuUs, measured } = await run(face);
    const { deliveries, expected, p50Ms, p99Ms } = measured;
    console.log(
      face.padEnd(16),
      `${cpuUs.toFixed(1).padStart(6)} µs a delivery`,
      `p50 ${p50Ms.toFixed(1)} ms, p99 ${p99Ms.toFixed(1)} ms,`,
      `${deliveries} of ${Math.round(expected)}`,
    );
  }
}
