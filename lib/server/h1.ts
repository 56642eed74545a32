import { type IncomingMessage, type OutgoingHttpHeader, type OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { NodeHandler } from './node-handler.ts';

type Headers = OutgoingHttpHeaders | OutgoingHttpHeader[];

/**
 * Responses that say `Connection: close` from the moment the server stops, whenever their request came in. A class and
 * no listener on each request: it costs nothing while the server runs.
 */
export function createH1ResponseClass(isStopping: () => boolean) {
  return class H1Response<Request extends IncomingMessage = IncomingMessage> extends ServerResponse<Request> {
    override writeHead(statusCode: number, statusMessage?: string, headers?: Headers): this;
    override writeHead(statusCode: number, headers?: Headers): this;
    override writeHead(statusCode: number, second?: string | Headers, headers?: Headers): this {
      if (isStopping()) this.setHeader('connection', 'close');
      return typeof second === 'string'
        ? super.writeHead(statusCode, second, headers)
        : super.writeHead(statusCode, second ?? headers);
    }
  };
}

/** Refuses requests with more headers than `maxCount`, of which Node has handed over one more. */
export function rejectManyHeaders(
  handler: NodeHandler,
  maxCount: number,
): (request: IncomingMessage, response: ServerResponse) => void {
  return (request, response) => {
    if (request.rawHeaders.length > 2 * maxCount) {
      response.writeHead(431, { connection: 'close' }).end();
      return;
    }
    handler(request, response);
  };
}
