import type { ServerHttp2Stream } from 'node:http2';
import { discardBody } from './discard-body.ts';
import type { NodeHandler } from './node-handler.ts';
import type { NodeServerRequest, NodeServerResponse } from './node-http.ts';

/**
 * An RPC whose ordinary calls are answered here, where connect-node costs too much. What is not ordinary (another method,
 * compression, a codec that is not known, a malformed message) is `pass`ed on to connect-node, which answers or refuses it.
 */
export interface RawRpc {
  /** As in `/package.Service/Method`. */
  readonly path: string;
  /** Answers, or calls `pass` once, with nothing written and the body unread, or given back by {@link giveBack}. */
  handle(request: NodeServerRequest, response: NodeServerResponse, pass: NodeHandler): void;
}

export function routeRawRpcs(rpcs: readonly RawRpc[], pass: NodeHandler): NodeHandler {
  const byPath = new Map(rpcs.map((rpc) => [rpc.path, rpc]));
  if (byPath.size === 0) return pass;
  return (request, response) => {
    const rpc = byPath.get(request.url ?? '');
    if (rpc === undefined) pass(request, response);
    else rpc.handle(request, response, pass);
  };
}

/**
 * Reads a body to its end, or until it is larger than `maxBytes`: then what arrived so far, and the rest is dropped.
 * Undefined: the other side went, or did not end it within `deadlineMs` and was cut.
 */
export function readBodyUpTo(
  request: NodeServerRequest | ServerHttp2Stream,
  maxBytes: number,
  deadlineMs: number,
): Promise<Buffer | undefined> {
  // An empty one ends an h2 stream before anybody reads it.
  if (request.readableEnded) return Promise.resolve(Buffer.alloc(0));
  // It says so only once, and whoever looked at a token meanwhile has missed it.
  if (request.destroyed) return Promise.resolve(undefined);
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let sizeBytes = 0;
    const settle = (body: Buffer | undefined) => {
      clearTimeout(deadline);
      request.off('data', onData);
      request.off('end', onEnd);
      request.off('close', onCut);
      resolve(body);
    };
    const whole = () => (chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks));
    const onData = (chunk: Buffer) => {
      chunks.push(chunk);
      sizeBytes += chunk.byteLength;
      if (sizeBytes <= maxBytes) return;
      settle(whole());
      discardBody(request);
    };
    const onEnd = () => settle(whole());
    const onCut = () => settle(undefined);
    const deadline = setTimeout(() => {
      settle(undefined);
      request.destroy();
    }, deadlineMs);
    request.on('data', onData);
    request.on('end', onEnd);
    // An error closes it, too; without a listener it would be the process's.
    request.on('error', ignore);
    request.on('close', onCut);
  });
}

function ignore(): void {}

/** Gives a body that was read to whoever reads the request next, as connect-node does: by iteration. */
export function giveBack(request: NodeServerRequest, body: Uint8Array): void {
  Object.defineProperty(request, Symbol.asyncIterator, {
    value: async function* () {
      yield body;
    },
  });
}
