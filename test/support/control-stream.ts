import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { dataOf, listen } from './events.ts';
import { message, publish, type Story, startStream } from './story.ts';
import { until } from './until.ts';

/**
 * What must not be disturbed: a publisher at an ordinary pace and listeners, through the edge and straight to the
 * process, while a test does its worst beside them.
 */
export interface ControlStream {
  /** Throws unless every publish so far was accepted, and every listener has all of them, in order. */
  check(): Promise<void>;
  /** The same; the stream ends as it should; and the process has not grown by much, and has said no more than `expected`. */
  end(expected?: readonly string[]): Promise<void>;
}

/** Below Conduit's 20 a second. */
const PAUSE_MS = 60;
const MAX_GROWTH_MIB = 256;

export async function startControlStream(story: Story): Promise<ControlStream> {
  const { monolith } = story;
  const idleMiB = await residentMiB(monolith.pid);
  const { channel_id: channelId, token } = await startStream(story.url);
  const query = new URLSearchParams({ token, channel_id: channelId });
  const listeners = await Promise.all(
    [story.url, story.url, story.directUrl].map((base) => listen(`${base}/events/1?${query}`)),
  );
  const problems: string[] = [];
  let sequence = 0;
  let isOver = false;

  async function send(phase: Phase): Promise<void> {
    sequence++;
    const made = message({ channelId, phase, sequence, payload: { n: sequence } });
    const answer = await publish(story.url, story.development.publish_token, made).catch(String);
    if (typeof answer === 'string') problems.push(answer);
    else if (answer.status !== 200) problems.push(`${answer.status} ${answer.text}`);
  }
  const publishing = (async () => {
    while (!isOver) {
      await send(Phase.DELTA);
      await delay(PAUSE_MS);
    }
  })();

  async function check(): Promise<void> {
    const count = sequence;
    const heard = () => listeners.map((listener) => dataOf(listener.events()).map((data) => data.sequence));
    const haveAll = () => problems.length > 0 || heard().every((sequences) => sequences.length >= count);
    await until(`every listener has ${count} messages`, haveAll);
    for (const sequences of heard()) {
      if (sequences.some((one, i) => one !== i + 1)) problems.push(`heard ${sequences.join(' ')}`);
    }
    if (problems.length > 0) throw new Error(`the control stream was disturbed: ${problems.join('; ')}`);
  }

  return {
    check,
    async end(expected = []) {
      isOver = true;
      await publishing;
      await send(Phase.END);
      await check();
      for (const listener of listeners) await listener.ended();
      const grownMiB = (await residentMiB(monolith.pid)) - idleMiB;
      if (grownMiB > MAX_GROWTH_MIB) throw new Error(`the process has grown by ${Math.round(grownMiB)} MiB`);
      const said = monolith
        .output()
        .split('\n')
        .filter((line) => line !== '' && !isToBeSaid(line, expected));
      if (said.length > 0) throw new Error(`the process said: ${said.join('\n')}`);
    },
  };
}

/** Whatever is expected, and that a file of its own was too slow for once: the machine may be busy. */
function isToBeSaid(line: string, expected: readonly string[]): boolean {
  if (!line.startsWith('{')) return false;
  const { msg, err } = JSON.parse(line);
  return expected.includes(msg) || (msg === 'dependency away' && /^no answer within /.test(err?.message));
}

/** What the operating system counts for a process, in MiB. Linux. */
async function residentMiB(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) / 1024;
}
