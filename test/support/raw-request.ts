import { type OutgoingHttpHeaders, request } from 'node:http';

/** An answer as it came: every header line, in order. */
export interface RawAnswer {
  readonly status: number;
  readonly text: string;
  /** All values of a header. */
  header(name: string): string[];
}

/** One request on a connection of its own. A body in several pieces is sent chunked. */
export function ask(
  url: string,
  options: {
    readonly method?: string;
    readonly headers?: OutgoingHttpHeaders;
    readonly body?: Uint8Array | string | readonly Uint8Array[];
  } = {},
): Promise<RawAnswer> {
  const { method = 'GET', headers = {}, body } = options;
  return new Promise((resolve, reject) => {
    const asking = request(url, { method, headers, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const raw = response.rawHeaders;
        resolve({
          status: response.statusCode ?? 0,
          text: Buffer.concat(chunks).toString(),
          header: (name) => raw.filter((_, i) => i % 2 === 1 && raw[i - 1]?.toLowerCase() === name.toLowerCase()),
        });
      });
    });
    asking.on('error', reject);
    if (Array.isArray(body)) for (const piece of body) asking.write(piece);
    else if (body !== undefined) asking.setHeader('Content-Length', Buffer.byteLength(body as string | Uint8Array));
    asking.end(Array.isArray(body) ? undefined : body);
  });
}
