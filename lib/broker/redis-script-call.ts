import { createHash } from 'node:crypto';
import type { Writable } from 'node:stream';
import { Command } from 'ioredis';
import type { RedisClient, ScriptArguments, ScriptReply, Settle } from './redis-client.ts';
import { RedisTurns } from './redis-turns.ts';

/**
 * A script that is called for every message. The client's own way makes half a dozen promises and three dozen small buffers
 * of such a call. This makes one buffer; the client sends it, follows redirections with it and finds its reply as with any
 * other command, and {@link RedisTurns} makes one write of those of a turn.
 */
export class CalledScript {
  readonly sha: string;
  readonly numberOfKeys: number;
  readonly #byText: string;
  readonly #byHash: string;
  /** Connections that were sent the text: whatever is written to them later may name it by its hash. */
  readonly #known = new WeakSet<Writable>();

  constructor(lua: string, numberOfKeys: number) {
    this.sha = createHash('sha1').update(lua).digest('hex');
    this.numberOfKeys = numberOfKeys;
    const keys = `$1\r\n${numberOfKeys}\r\n`;
    this.#byText = `$4\r\neval\r\n$${Buffer.byteLength(lua)}\r\n${lua}\r\n${keys}`;
    this.#byHash = `$7\r\nevalsha\r\n$${this.sha.length}\r\n${this.sha}\r\n${keys}`;
  }

  /** @param args The keys, and the rest. What isn't a Buffer is ASCII. */
  send(client: RedisClient, args: ScriptArguments, settle: Settle<ScriptReply>): void {
    const onReply: Settle<ScriptReply> = (error, reply) => {
      // Redis has forgotten it on a connection that lasts: scripts were flushed, or too many others came.
      if (isUnknownScript(error)) client.sendCommand(new ScriptCall(this, args, settle));
      else settle(error, reply);
    };
    client.sendCommand(new ScriptCall(this, args, onReply));
  }

  encode(socket: Writable, args: ScriptArguments): Buffer {
    if (this.#known.has(socket)) return encodeCommand(this.#byHash, args);
    this.#known.add(socket);
    return encodeCommand(this.#byText, args);
  }

  forget(socket: Writable): void {
    this.#known.delete(socket);
  }
}

class ScriptCall extends Command {
  readonly #script: CalledScript;
  readonly #arguments: ScriptArguments;
  readonly #settle: Settle<ScriptReply>;
  /** Where it was written to last. */
  #socket: Writable | undefined;

  constructor(script: CalledScript, args: ScriptArguments, settle: Settle<ScriptReply>) {
    // By the keys the client finds the slot. It hangs what it is given on errors: so nothing of the rest.
    super('evalsha', [script.sha, script.numberOfKeys, ...args.slice(0, script.numberOfKeys)]);
    this.#script = script;
    this.#arguments = args;
    this.#settle = settle;
    // In place of the promise's, which nobody asks for.
    this.resolve = (reply: unknown) => this.#end(undefined, reply);
    this.reject = (error: Error) => this.#end(error);
  }

  /** Called by the client for each connection that it writes this to. */
  override toWritable(socket: object): Buffer {
    // Redirected: the one before has answered.
    this.#leave();
    this.#socket = socket as Writable;
    const encoded = this.#script.encode(this.#socket, this.#arguments);
    RedisTurns.of(this.#socket).enter();
    return encoded;
  }

  #end(error: Error | undefined, reply?: unknown): void {
    if (this.isSettled) return;
    this.isSettled = true;
    this.isResolved = error === undefined;
    if (this.#socket !== undefined && isUnknownScript(error)) this.#script.forget(this.#socket);
    this.#leave();
    if (error !== undefined) this.#settle(error);
    else this.#settle(undefined, wordsOf(reply));
  }

  #leave(): void {
    if (this.#socket !== undefined) RedisTurns.of(this.#socket).leave();
    this.#socket = undefined;
  }
}

function isUnknownScript(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('NOSCRIPT');
}

function wordsOf(reply: unknown): ScriptReply {
  return (reply as (Buffer | number)[]).map((word) => (typeof word === 'number' ? word : word.toString('latin1')));
}

/** `head`: the first three arguments, encoded. */
function encodeCommand(head: string, args: ScriptArguments): Buffer {
  // Where a Buffer belongs, the text before it ends.
  const texts: string[] = [];
  const buffers: Buffer[] = [];
  let text = `*${3 + args.length}\r\n${head}`;
  let size = 0;
  for (const arg of args) {
    if (typeof arg === 'object') {
      text += `$${arg.length}\r\n`;
      size += text.length + arg.length;
      texts.push(text);
      buffers.push(arg);
      text = '\r\n';
    } else {
      const word = typeof arg === 'string' ? arg : String(arg);
      text += `$${word.length}\r\n${word}\r\n`;
    }
  }
  texts.push(text);
  const encoded = Buffer.allocUnsafe(size + text.length);
  let at = 0;
  for (const [n, part] of texts.entries()) {
    // A length that is wrong would make Redis take what is sent for other commands.
    if (Buffer.byteLength(part) !== part.length) throw new Error('an argument of a script that is not ASCII');
    at += encoded.write(part, at, 'latin1');
    const buffer = buffers[n];
    if (buffer !== undefined) at += buffer.copy(encoded, at);
  }
  return encoded;
}
