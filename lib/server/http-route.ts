import type { NodeServerRequest, NodeServerResponse } from './node-http.ts';
import { Refusal } from './refusal.ts';
import { convertStoreError } from './store-refusal.ts';

/**
 * Routes that belong to somebody else's wire protocol, and health: answered beside the RPCs, on the same port.
 */
export interface HttpRoute {
  /** Methods it answers; others are a 405 that names them. */
  readonly methods: readonly string[];
  /** Matched against the path alone. Named groups arrive as `params`. */
  readonly path: RegExp;
  /** Answers with `Access-Control-Allow-Origin: *`, and preflights. `by_handler`: what it answers itself says so already. */
  readonly cors: boolean | 'by_handler';
  /** A Refusal that is thrown, or the store's, becomes the answer; anything else a 500 that says nothing. */
  handle(call: HttpCall): Promise<void> | void;
}

/**
 * All paths below one, of somebody else's protocol that has answers of its own also for what is not there, for other
 * methods and for preflights.
 */
export interface HttpTree {
  /** Asked with every path that is no RPC, before all routes: it must cost next to nothing. */
  owns(path: string): boolean;
  /** Where its bodies may take longer than others: see SlowPaths. */
  readonly requestTimeoutMs?: number;
  /** `query`: what follows the question mark, as it was sent. */
  handle(request: NodeServerRequest, response: NodeServerResponse, path: string, query: string): void;
}

export interface HttpCall {
  readonly request: NodeServerRequest;
  readonly response: NodeServerResponse;
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
}

/** The query is read by those who ask for it: most calls that come often have none. */
class Call implements HttpCall {
  readonly request: NodeServerRequest;
  readonly response: NodeServerResponse;
  readonly params: Readonly<Record<string, string>>;
  readonly #url: string;
  readonly #question: number;

  constructor(
    request: NodeServerRequest,
    response: NodeServerResponse,
    params: HttpCall['params'],
    url: string,
    question: number,
  ) {
    this.request = request;
    this.response = response;
    this.params = params;
    this.#url = url;
    this.#question = question;
  }

  get query(): URLSearchParams {
    return new URLSearchParams(this.#question < 0 ? '' : this.#url.slice(this.#question + 1));
  }
}

/** Makes one fallback handler of many routes. `onError` hears of what is not a Refusal. */
export function routeHttp(
  routes: readonly HttpRoute[],
  onError: (error: unknown) => void,
  trees: readonly HttpTree[] = [],
): (request: NodeServerRequest, response: NodeServerResponse) => void {
  return (request, response) => {
    const url = request.url ?? '/';
    const question = url.indexOf('?');
    const path = question < 0 ? url : url.slice(0, question);
    for (const tree of trees) {
      if (!tree.owns(path)) continue;
      tree.handle(request, response, path, question < 0 ? '' : url.slice(question + 1));
      return;
    }
    for (const route of routes) {
      const match = route.path.exec(path);
      if (match === null) continue;
      const method = request.method ?? '';
      const isAnswered = route.methods.includes(method);
      if (route.cors === true || (route.cors === 'by_handler' && !isAnswered)) allowAnyOrigin(response);
      if (route.cors && method === 'OPTIONS') {
        answerPreflight(route, response);
        return;
      }
      if (!isAnswered) {
        response.setHeader('Allow', route.methods.join(', '));
        refuse(response, new Refusal('method_not_allowed'));
        return;
      }
      const fail = (error: unknown) => {
        if (route.cors === 'by_handler' && !response.headersSent) allowAnyOrigin(response);
        answerError(response, error, onError);
      };
      try {
        route.handle(new Call(request, response, match.groups ?? {}, url, question))?.catch(fail);
      } catch (error) {
        fail(error);
      }
      return;
    }
    const refusal = new Refusal('not_found');
    // The edge passes on what it knows no RPC for: the answer has the form of the JSON APIs' errors.
    if (path.startsWith('/v1/')) sendJson(response, refusal.status, { code: refusal.code, message: refusal.message });
    else refuse(response, refusal);
  };
}

function allowAnyOrigin(response: NodeServerResponse): void {
  response.setHeader('Access-Control-Allow-Origin', '*');
}

/** Answers with a Refusal, the store's too; with a 500 for anything else, of which `onError` hears. */
export function answerError(response: NodeServerResponse, thrown: unknown, onError: (error: unknown) => void): void {
  const error = convertStoreError(thrown);
  if (!(error instanceof Refusal)) onError(error);
  refuse(response, error);
}

/** Answers with plain text, as Conduit does. */
export function sendText(response: NodeServerResponse, status: number, text: string): void {
  if (response.headersSent || response.writableEnded) return;
  response.setHeader('Content-Type', 'text/plain; charset=utf-8');
  response.setHeader('Content-Length', Buffer.byteLength(text));
  response.writeHead(status);
  response.end(text);
}

export function sendJson(response: NodeServerResponse, status: number, value: unknown): void {
  const text = JSON.stringify(value);
  response.setHeader('Content-Type', 'application/json');
  response.setHeader('Content-Length', Buffer.byteLength(text));
  response.writeHead(status);
  response.end(text);
}

function refuse(response: NodeServerResponse, error: unknown): void {
  if (!(error instanceof Refusal)) {
    sendText(response, 500, 'Internal error');
    return;
  }
  if (!response.headersSent && error.retryAfterSec !== undefined) {
    response.setHeader('Retry-After', String(error.retryAfterSec));
  }
  sendText(response, error.status, error.message);
}

function answerPreflight(route: HttpRoute, response: NodeServerResponse): void {
  response.setHeader('Access-Control-Allow-Methods', route.methods.join(', '));
  response.setHeader('Access-Control-Allow-Headers', '*, Authorization');
  response.setHeader('Access-Control-Max-Age', '3600');
  response.writeHead(204);
  response.end();
}
