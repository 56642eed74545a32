import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cliHome, runCli, startCli } from '../support/cli.ts';
import { freePort } from '../support/free-port.ts';
import { type Story, startStory, startStream } from '../support/story.ts';
import { until } from '../support/until.ts';

let story: Story;
let env: Record<string, string>;
let removeHome: () => Promise<void>;

beforeAll(async () => {
  story = await startStory();
  const home = await cliHome(story.development, story.url);
  env = { TIDEWAY_DATA_DIR: home.dir };
  removeHome = home.remove;
});

afterAll(async () => {
  await removeHome();
  await story.stop();
});

const newChannel = () => crypto.randomUUID();

describe('a pipe from publish to listen', () => {
  it('arrives byte for byte, as it is written, and ends both', async () => {
    const channel = newChannel();
    const listener = startCli('listen', ['--channel', channel], env);
    const publisher = startCli('publish', ['--channel', channel, '--lines'], env);

    publisher.write('first\n\nthird, with ünïcödé 😀\n');
    await until('the lines are there before the input ends', () => listener.out().endsWith('😀\n'));
    const long = 'x'.repeat(40_000);
    publisher.write(`${long}\nlast, without an end`);
    publisher.endInput();

    expect(await publisher.exited).toBe(0);
    expect(await listener.exited).toBe(0);
    expect(listener.out()).toBe(`first\n\nthird, with ünïcödé 😀\n${long}\nlast, without an end`);
    expect(listener.err() + publisher.err()).toBe('');
    // START, three lines, three pieces of the long one, the last, END.
    expect(publisher.out().trim().split('\n')).toHaveLength(9);
  });

  it('keeps up with more lines than the rate allows at once', async () => {
    const channel = newChannel();
    const lines = Array.from({ length: 450 }, (_, n) => `line ${n}\n`).join('');
    const published = await runCli('publish', ['--channel', channel, '--lines', '--quiet'], env, lines);
    expect(published).toEqual({ code: 0, out: '', err: '' });
    expect(await runCli('listen', ['--channel', channel], env)).toEqual({ code: 0, out: lines, err: '' });
  });

  it('says that lines may be joined, and they are the same text, early and late', async () => {
    const channel = newChannel();
    const early = startCli('listen', ['--channel', channel], env);
    const lines = Array.from({ length: 450 }, (_, n) => `line ${n} 😀\n`).join('');
    const flags = ['--channel', channel, '--lines', '--quiet', '--coalesce', '20'];
    expect(await runCli('publish', flags, env, lines)).toEqual({ code: 0, out: '', err: '' });
    expect(await runCli('listen', ['--channel', channel], env)).toEqual({ code: 0, out: lines, err: '' });
    await until('the early one has all of it', () => early.out() === lines);
    const json = await runCli('listen', ['--channel', channel, '--json'], env);
    // START, text, END.
    expect(json.out.trim().split('\n')).toHaveLength(3);
  });

  it('ends the stream when the publisher is interrupted', async () => {
    const channel = newChannel();
    const listener = startCli('listen', ['--channel', channel], env);
    const publisher = startCli('publish', ['--channel', channel, '--lines'], env);
    publisher.write('one\n');
    await until('it is there', () => listener.out() === 'one\n');
    publisher.kill('SIGINT');
    // A terminal and npm both pass a Ctrl-C on.
    publisher.kill('SIGINT');
    expect(await publisher.exited).toBe(0);
    expect(await listener.exited).toBe(0);
  });

  it('ends the stream when a listener cancels it, also where it would have stayed open', async () => {
    const { token, channel_id } = await startStream(story.url, { allow_cancel: true });
    const listener = startCli('listen', ['--channel', channel_id], env);
    const publisher = startCli('publish', ['--channel', channel_id, '--lines', '--no-end'], env);
    publisher.write('one\n');
    await until('it is there', () => listener.out() === 'one\n');
    const response = await fetch(`${story.url}/v1/organizations/1/channels/${channel_id}:cancel`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${token}` },
      body: JSON.stringify({ reason: 'enough\u001b[2J\nof it' }),
    });
    expect(response.status).toBe(200);
    expect(await publisher.exited).toBe(0);
    expect(await listener.exited).toBe(0);
    expect(publisher.err()).toBe('A listener cancelled the stream: enough\ufffd[2J of it. It ends here.\n');
    // START, the line, END.
    expect(publisher.out().trim().split('\n')).toHaveLength(3);
  });

  it('carries JSON both ways', async () => {
    const channel = newChannel();
    const input = '{"step":1,"of":2}\n{"step":2,"of":2}\n';
    expect((await runCli('publish', ['--channel', channel, '--lines', '--json'], env, input)).code).toBe(0);
    expect((await runCli('listen', ['--channel', channel], env)).out).toBe(input);
    const events = (await runCli('listen', ['--channel', channel, '--json'], env)).out.trim().split('\n');
    expect(events.map((line) => JSON.parse(line).message.phase)).toEqual([
      'PHASE_START',
      'PHASE_DELTA',
      'PHASE_DELTA',
      'PHASE_END',
    ]);
  });
});

describe('publish', () => {
  it('makes a channel and says how to listen to it', async () => {
    const { code, out, err } = await runCli('publish', ['Hello', 'you'], env);
    expect(code).toBe(0);
    expect(out).toMatch(/^\d+-\d+\n$/);
    const channel = /listen -- --channel (\S+)/.exec(err)?.[1] ?? '';
    expect((await runCli('publish', ['--channel', channel, '--phase', 'end'], env)).code).toBe(0);
    expect(await runCli('listen', ['--channel', channel], env)).toEqual({ code: 0, out: 'Hello you', err: '' });
  });

  it('stores a repeated message once', async () => {
    const args = ['--channel', newChannel(), '--message-id', crypto.randomUUID(), 'once'];
    const first = await runCli('publish', args, env);
    expect(first.out).toMatch(/^\d+-\d+\n$/);
    expect(await runCli('publish', args, env)).toEqual(first);
  });

  it('refuses input that is too long, and says what would help', async () => {
    const { code, err } = await runCli('publish', ['--channel', newChannel()], env, 'x'.repeat(20_000));
    expect(code).toBe(2);
    expect(err).toMatch(/^The input is longer than.*--lines.*\n$/);
  });

  it('takes empty input for a mistake, an empty text as it is said', async () => {
    const channel = ['--channel', newChannel()];
    expect(await runCli('publish', channel, env)).toEqual({
      code: 2,
      out: '',
      err: 'Nothing to publish: the input is empty.\n',
    });
    expect((await runCli('publish', [...channel, ''], env)).code).toBe(0);
  });

  it('says when the stream has ended', async () => {
    const channel = newChannel();
    await runCli('publish', ['--channel', channel, '--phase', 'end'], env);
    const { code, err } = await runCli('publish', ['--channel', channel, 'late'], env);
    expect([code, err]).toEqual([1, 'The stream has ended: nothing more can be published to this channel.\n']);
  });

  it('does not show a token that was refused', async () => {
    const token = 'header.a-secret.signature';
    const { code, out, err } = await runCli('publish', ['--channel', newChannel(), 'x'], {
      ...env,
      TIDEWAY_PUBLISH_TOKEN: token,
    });
    expect(code).toBe(1);
    expect(err).toMatch(/^The token was refused: .*\n$/);
    expect(out + err).not.toContain('a-secret');
  });
});

describe('listen', () => {
  it('stops when it is interrupted, and goes on from there', async () => {
    const channel = newChannel();
    const first = startCli('listen', ['--channel', channel], env);
    await runCli('publish', ['--channel', channel, 'one '], env);
    await until('the first message is there', () => first.out() === 'one ');
    first.kill('SIGINT');
    expect(await first.exited).toBe(130);
    const from = /^Interrupted\. --from (\S+) goes on from here\.\n$/.exec(first.err())?.[1] ?? '';

    await runCli('publish', ['--channel', channel, 'two'], env);
    await runCli('publish', ['--channel', channel, '--phase', 'end'], env);
    const second = await runCli('listen', ['--channel', channel, '--from', from], env);
    expect(second).toEqual({ code: 0, out: 'two', err: '' });
  });

  it('waits no longer than it is told', async () => {
    const { code, out, err } = await runCli('listen', ['--channel', newChannel(), '--timeout-sec', '0.5'], env);
    expect([code, out, err]).toEqual([4, '', 'No END within 0.5 s.\n']);
  });

  it('knows a stream that ended before the id it begins with', async () => {
    const channel = newChannel();
    const { out: id } = await runCli('publish', ['--channel', channel, '--phase', 'end'], env);
    const { code, err } = await runCli('listen', ['--channel', channel, '--from', id.trim()], env);
    expect([code, err]).toEqual([0, 'The stream has ended, and nothing comes after this id.\n']);
  });

  it('ends quietly when nobody reads it any more', async () => {
    const channel = newChannel();
    const listener = startCli('listen', ['--channel', channel], env);
    const publisher = startCli('publish', ['--channel', channel, '--lines', '--quiet'], env);
    publisher.write('one\n');
    await until('the first line is there', () => listener.out() === 'one\n');
    listener.stopReading();
    publisher.write('two\n');
    expect(await listener.exited).toBe(0);
    expect(listener.err()).toBe('');
    publisher.endInput();
    expect(await publisher.exited).toBe(0);
  });

  it('makes a channel and says how to publish to it', async () => {
    const listener = startCli('listen', [], env);
    await until('it says how', () => /publish -- --channel \S+ "Hello"\n$/.test(listener.err()));
    const channel = /--channel (\S+)/.exec(listener.err())?.[1] ?? '';
    await runCli('publish', ['--channel', channel, '--lines'], env, 'Hello\n');
    expect(await listener.exited).toBe(0);
    expect(listener.out()).toBe('Hello\n');
  });
});

describe('an edge that is away', () => {
  it.each(['publish', 'listen'] as const)('is one clear line from %s', async (command) => {
    const url = `http://127.0.0.1:${await freePort()}`;
    const { code, out, err } = await runCli(command, ['--url', url], env, 'text');
    expect([code, out, err]).toEqual([3, '', `Can't reach ${url}: is \`npm start\` running?\n`]);
  });

  it('is one clear line where npm start has never run', async () => {
    const { code, err } = await runCli('listen', [], { TIDEWAY_DATA_DIR: `${env['TIDEWAY_DATA_DIR']}/none` });
    expect(code).toBe(2);
    expect(err).toMatch(/^No edge to talk to: .*npm start.*\n$/);
  });
});
