import { describe, expect, it } from 'vitest';
import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { LISTEN_HELP, parseListenOptions } from './listen-options.ts';
import { PUBLISH_HELP, parsePublishOptions } from './publish-options.ts';
import { pasteable } from './usage.ts';

const channel = '0b2d3f60-7c1a-4b52-9a55-0f6f3c1d2e4b';

describe('parsePublishOptions', () => {
  it('takes text as one DELTA', () => {
    expect(parsePublishOptions(['--channel', channel, 'Hello', 'you'])).toMatchObject({
      kind: 'options',
      options: {
        channelId: channel,
        sequence: 0n,
        retryMs: 60_000,
        what: { kind: 'one', phase: Phase.DELTA, text: 'Hello you', needsInput: false },
      },
    });
  });

  it('reads a DELTA without text from standard input, and nothing for other phases', () => {
    expect(parsePublishOptions([])).toMatchObject({ options: { what: { needsInput: true } } });
    expect(parsePublishOptions(['--phase', 'end'])).toMatchObject({
      options: { what: { phase: Phase.END, text: undefined, needsInput: false } },
    });
  });

  it('takes lines', () => {
    expect(parsePublishOptions(['--lines', '--no-end', '--sequence', '18446744073709551615'])).toMatchObject({
      options: { sequence: 18446744073709551615n, what: { kind: 'lines', start: true, end: false } },
    });
  });

  it('takes a window where there is a START to say it', () => {
    for (const [text, windowMs] of [
      ['1', 1],
      ['10000', 10_000],
    ] as const) {
      for (const start of [['--lines'], ['--phase', 'start']]) {
        expect(parsePublishOptions([...start, '--coalesce', text])).toMatchObject({
          options: { coalesceWindowMs: windowMs },
        });
      }
    }
  });

  it('keeps text that looks like an option after --', () => {
    expect(parsePublishOptions(['--', '--lines'])).toMatchObject({ options: { what: { text: '--lines' } } });
  });

  it.each([
    [['--channel', 'x'], /--channel must be a UUID/],
    [['--message-id', 'x'], /--message-id must be a UUID/],
    [['--sequence', '18446744073709551616'], /--sequence must be/],
    [['--sequence=-1'], /--sequence must be/],
    [['--phase', 'middle'], /--phase must be/],
    [['--retry-sec', '1e9'], /--retry-sec must be/],
    [['--lines', 'text'], /no text beside it/],
    [['--lines', '--phase', 'end'], /not for --lines/],
    [['--no-end', 'text'], /go with --lines/],
    [['--coalesce', '50', 'text'], /said by a START/],
    [['--lines', '--no-start', '--coalesce', '50'], /said by a START/],
    [['--lines', '--coalesce', '0'], /--coalesce must be/],
    [['--lines', '--coalesce', '10001'], /--coalesce must be/],
    [['--lines', '--coalesce', '1e3'], /--coalesce must be/],
    [['--nope'], /Unknown option '--nope'\.$/],
    [['--channel'], /--channel.*missing/],
  ])('says what is wrong with %j', (args, why) => {
    expect(parsePublishOptions(args)).toMatchObject({ kind: 'wrong', why: expect.stringMatching(why) });
  });

  it('does not repeat a token in an error', () => {
    const result = parsePublishOptions(['--token', 'a-secret', '--lines=a-secret']);
    expect(result.kind).toBe('wrong');
    expect(JSON.stringify(result)).not.toContain('a-secret');
  });
});

describe('parseListenOptions', () => {
  it('takes a channel and a place to begin', () => {
    expect(parseListenOptions(['--channel', channel, '--from', '17-0', '--timeout-sec', '2.5'])).toMatchObject({
      options: { channelId: channel, from: '17-0', json: false, timeoutMs: 2500, retryMs: 60_000 },
    });
    expect(parseListenOptions([])).toMatchObject({ options: { channelId: undefined, from: '', timeoutMs: undefined } });
  });

  it.each([
    [['--channel', '1'], /--channel must be a UUID/],
    [['--from', 'yesterday'], /--from must be a message id/],
    [['--timeout-sec', '0'], /--timeout-sec must be/],
    [['--retry-sec', '-1'], /--retry-sec/],
    [['text'], /Unexpected argument/],
  ])('says what is wrong with %j', (args, why) => {
    expect(parseListenOptions(args)).toMatchObject({ kind: 'wrong', why: expect.stringMatching(why) });
  });
});

describe('help', () => {
  it('names every option and fits a terminal', () => {
    expect(parsePublishOptions(['--help']).kind).toBe('help');
    expect(parseListenOptions(['-h']).kind).toBe('help');
    for (const line of `${PUBLISH_HELP}\n${LISTEN_HELP}`.split('\n')) expect(line.length).toBeLessThanOrEqual(120);
  });
});

describe('pasteable', () => {
  it('quotes what a shell would change', () => {
    expect(pasteable('listen', { channel, url: undefined, org: "a'b" })).toBe(
      `npm run -s listen -- --channel ${channel} --org 'a'\\''b'`,
    );
  });
});
