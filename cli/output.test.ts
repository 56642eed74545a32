import { PassThrough, Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { Output, printable } from './output.ts';

describe('Output', () => {
  it('resolves when the write is taken', async () => {
    const stream = new PassThrough();
    const output = new Output(stream);
    expect(await output.write('one')).toBe(true);
    expect(stream.read()?.toString()).toBe('one');
  });

  it('says that the reader has gone, and stays quiet afterwards', async () => {
    const stream = new Writable({
      write(_chunk, _encoding, done) {
        done(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }));
      },
    });
    const output = new Output(stream);
    expect(await output.write('one')).toBe(false);
    expect(output.closed).toBe(true);
    expect(await output.write('two')).toBe(false);
  });
});

describe('printable', () => {
  it('keeps text, tabs and line ends', () => {
    expect(printable('é\t語\r\n😀\n')).toBe('é\t語\r\n😀\n');
  });

  it('replaces what would steer a terminal', () => {
    expect(printable('a\u001b]0;title\u0007\u009b2J\rb')).toBe('a\ufffd]0;title\ufffd\ufffd2J\ufffdb');
  });
});
