import { createHash } from 'node:crypto';
import type { Writable } from 'node:stream';
import { Command } from 'ioredis';
import type { RedisClient, Settle } from './redis-client.ts';
import { RedisTurns } from './redis-turns.ts';

/**
 * A script that is called for every message. The client's own way makes half a dozen promises and three dozen small buffers
 * of such a call. This makes one buffer; the client sends it, follows redirections with it and finds its reply as with any
 * other command, and {@link RedisTurns} makes one write of those of a turn.
 */
export class CalledScript {
  readonly lua: string;
  readonly sha: string;
  readonly #byText: string;
  readonly #byHash: string;
  /** Connections that were sent the text: whatever is written to them later may name it by its hash. */
  readonly #known = new WeakSet<Writable>();

  constructor(lua: string) {
    this.lua = lua;
    this.sha = createHash('sha1').update(lua).digest('hex');
    this.#byText = `$4\r\neval\r\n$${Buffer.byteLength(lua)}\r\n${lua}\r\n`;
    this.#byHash = `$7\r\nevalsha\r\n${encodeWord(this.sha)}`;
  }

  send(client: RedisClient, sent: SentScript, settle: Settle<string>): void {
    const onReply: Settle<string> = (error, reply) => {
      // Redis has forgotten it on a connection that lasts: scripts were flushed, or too many others came.
      if (isUnknownScript(error)) client.sendCommand(new ScriptCall(this, sent, settle));
      else settle(error, reply);
    };
    client.sendCommand(new ScriptCall(this, sent, onReply));
  }

  encode(socket: Writable, args: EncodedArguments): Buffer {
    if (this.#known.has(socket)) return args.encode(this.#byHash);
    this.#known.add(socket);
    return args.encode(this.#byText);
  }

  forget(socket: Writable): void {
    this.#known.delete(socket);
  }
}

/** What a script is called with. */
export interface SentScript {
  /** One of its keys. */
  readonly key: string;
  /** How many keys, all of them, and the rest. */
  readonly args: EncodedArguments;
  /** By {@link RedisTurns}; otherwise it is written at once. */
  readonly inTurns: boolean;
  /** By performance.now(). What has not been written until then never is. */
  readonly deadlineMs: number;
}

// What the client writes has to have an answer.
const TOO_LATE = Buffer.from('*1\r\n$4\r\nping\r\n');

/** A word as Redis reads it: ASCII. */
export function encodeWord(word: string): string {
  return `$${word.length}\r\n${word}\r\n`;
}

/** Arguments, and how many they are. As text until they are sent: it is cheaper than lists of them. */
export class EncodedArguments {
  #first = '';
  #firstCount = 0;
  #count = 0;
  #text = '';
  #size = 0;
  // What comes before each of the bytes, as they can't be part of the text.
  readonly #texts: string[] = [];
  readonly #bytes: Uint8Array[] = [];

  get byteLength(): number {
    return this.#size + this.#text.length;
  }

  addWord(word: string): void {
    this.#count += 1;
    this.#text += encodeWord(word);
  }

  addBytes(bytes: Uint8Array): void {
    this.#count += 1;
    const text = `${this.#text}$${bytes.length}\r\n`;
    this.#texts.push(text);
    this.#bytes.push(bytes);
    this.#size += text.length + bytes.length;
    this.#text = '\r\n';
  }

  /** @param text So many words, as by {@link encodeWord}. */
  putFirst(text: string, count: number): void {
    this.#first = text;
    this.#firstCount = count;
  }

  /** `head`: two arguments that come before these. */
  encode(head: string): Buffer {
    const start = `*${2 + this.#firstCount + this.#count}\r\n${head}${this.#first}`;
    const encoded = Buffer.allocUnsafe(start.length + this.#size + this.#text.length);
    let at = writeAscii(encoded, start, 0);
    for (const [n, bytes] of this.#bytes.entries()) {
      at = writeAscii(encoded, this.#texts[n] ?? '', at);
      encoded.set(bytes, at);
      at += bytes.length;
    }
    writeAscii(encoded, this.#text, at);
    return encoded;
  }
}

/** Answers where it ends. */
function writeAscii(target: Buffer, text: string, at: number): number {
  // A length that is wrong would make Redis take what is sent for other commands.
  if (target.write(text, at, 'utf8') !== text.length) throw new Error('an argument of a script that is not ASCII');
  return at + text.length;
}

class ScriptCall extends Command {
  readonly #script: CalledScript;
  #sent: SentScript | undefined;
  #settle: Settle<string> | undefined;
  /** Where it was written to and is not answered. */
  #socket: Writable | undefined;

  constructor(script: CalledScript, sent: SentScript, settle: Settle<string>) {
    // By a key the client finds the slot. It hangs what it is given on errors: so nothing of the rest.
    super('evalsha', [script.sha, '1', sent.key]);
    this.#script = script;
    this.#sent = sent;
    this.#settle = settle;
    // In place of the promise's, which nobody asks for.
    this.resolve = (reply: unknown) => this.#end(undefined, reply);
    this.reject = (error: Error) => this.#end(error);
  }

  /** Called by the client for each connection that it writes this to. */
  override toWritable(socket: object): Buffer {
    const connection = socket as Writable;
    if (this.#sent === undefined) throw new Error('a call that is answered already');
    const { args, inTurns, deadlineMs } = this.#sent;
    // The client keeps what comes while it has no connection, for as long as Sentinels are away. Who called was told that it
    // failed, has had it done elsewhere, and more since: by now it may be forgotten there, and would be done again.
    const encoded = performance.now() > deadlineMs ? TOO_LATE : this.#script.encode(connection, args);
    if (inTurns) {
      this.#socket = connection;
      RedisTurns.of(connection).enter();
    }
    const settle = this.reject;
    // The client may follow a redirection with it, to a node that is silent: this connection has answered, and must not wait.
    this.reject = (error: Error) => {
      this.reject = settle;
      if (isUnknownScript(error)) this.#script.forget(connection);
      this.#leave();
      settle.call(this, error);
    };
    return encoded;
  }

  #end(error: Error | undefined, reply?: unknown): void {
    const settle = this.#settle;
    if (settle === undefined) return;
    this.isSettled = true;
    this.isResolved = error === undefined;
    this.#leave();
    // Whatever was under way when V8 looked through its new space is old from then on, and what it points to stays until all of
    // the heap is looked through: here a call, from that the next, and so all of them.
    this.#settle = undefined;
    this.#sent = undefined;
    this.resolve = noMore;
    this.reject = noMore;
    if (error !== undefined) settle(error);
    else settle(undefined, (reply as Buffer).toString('latin1'));
  }

  #leave(): void {
    if (this.#socket !== undefined) RedisTurns.of(this.#socket).leave();
    this.#socket = undefined;
  }
}

function noMore(): void {}

export function isUnknownScript(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('NOSCRIPT');
}
