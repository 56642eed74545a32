import type { Cluster, Redis, Result } from 'ioredis';
import { END_IDLE_SCRIPT, FORGET_SCRIPT, READ_SCRIPT } from './redis-scripts.ts';

/** What commands are sent to, the scripts of redis-scripts.ts among them. */
export type RedisClient = Redis | Cluster;

// Other byte arrays than Buffers the client would send as a list of numbers.
export type ScriptArguments = (string | number | Buffer)[];

declare module 'ioredis' {
  interface RedisCommander<Context> {
    tidewayReadBuffer(...args: ScriptArguments): Result<ReadReply, Context>;
    tidewayEndIdle(...args: ScriptArguments): Result<EndIdleReply, Context>;
    tidewayForget(...args: ScriptArguments): Result<number, Context>;
  }
}

/** Told once what became of it. */
export type Settle<T> = (error: unknown, reply?: T) => void;

export type ReadReply = [
  entries: [id: Buffer, fields: Buffer[]][],
  last: Buffer,
  sealedBy: Buffer,
  words?: Buffer[],
  bytes?: Buffer,
  from?: number,
];
export type EndIdleReply = ['over' | 'ended'] | ['active', string];

/** Each is sent by its hash, and with its text where the server doesn't know it yet. */
export function defineScripts(client: RedisClient): void {
  client.defineCommand('tidewayRead', { lua: READ_SCRIPT, numberOfKeys: 3 });
  client.defineCommand('tidewayEndIdle', { lua: END_IDLE_SCRIPT, numberOfKeys: 4 });
  client.defineCommand('tidewayForget', { lua: FORGET_SCRIPT, numberOfKeys: 1 });
}
