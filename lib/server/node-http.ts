import type { IncomingHttpHeaders } from 'node:http2';
import { discardBody } from './discard-body.ts';
import type { NodeHandler } from './node-handler.ts';
import { Refusal } from './refusal.ts';

/** What a handler gets on a port that speaks HTTP/1.1 and h2c. */
export type NodeServerRequest = Parameters<NodeHandler>[0];
export type NodeServerResponse = Parameters<NodeHandler>[1];

/** A header that may be sent once. Repeated ones arrive joined or as a list, and mean nothing to us. */
export function headerOf(request: { readonly headers: IncomingHttpHeaders }, name: string): string | undefined {
  const value = request.headers[name];
  return typeof value === 'string' ? value : undefined;
}

/**
 * Reads a body of at most `maxBytes`; a larger one is refused before it is buffered, by its declared length or as soon as
 * it crosses the limit. The server's request timeout bounds the wait.
 */
export function readBody(
  request: NodeServerRequest,
  maxBytes: number,
  tooLarge: (sizeBytes?: number) => Refusal,
): Promise<Buffer> {
  const declared = Number(headerOf(request, 'content-length') ?? Number.NaN);
  if (declared > maxBytes) {
    discardBody(request);
    return Promise.reject(tooLarge(declared));
  }
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let sizeBytes = 0;
    request.on('data', (chunk: Buffer) => {
      sizeBytes += chunk.byteLength;
      if (sizeBytes > maxBytes) {
        chunks.length = 0;
        discardBody(request);
        reject(tooLarge());
        return;
      }
      chunks.push(chunk);
    });
    request.on('end', () => {
      // Every request closes after its end; an error made for nothing costs more than all the rest of this.
      request.off('close', onCut);
      resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks));
    });
    const onCut = () => reject(new Refusal('invalid_argument', { text: 'The request ended before its body did' }));
    request.on('error', onCut);
    request.on('close', onCut);
  });
}

/**
 * Forgets what a request brought. Node keeps it for as long as the answer lasts, which for a listener is hours: with its
 * token that was 0.7 KiB of 7 each.
 */
export function forgetHead(request: NodeServerRequest): void {
  request.rawHeaders.length = 0;
  request.url = '';
  if ('stream' in request) for (const name of Object.keys(request.headers)) delete request.headers[name];
  else request.headers = {};
}
