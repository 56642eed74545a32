import { ask } from './raw-request.ts';

/** An answer of the JSON API. */
export interface JsonAnswer {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: what a test expects of it, the test says.
  readonly json: any;
  /** As it came: for answers that must not differ in anything. */
  readonly text: string;
  header(name: string): string[];
}

/** The JSON API as curl calls it: one request, one connection. */
export class JsonApi {
  readonly #url: string;
  readonly #token: string | undefined;

  constructor(url: string, token?: string) {
    this.#url = url;
    this.#token = token;
  }

  /** The same API for somebody else. */
  as(token: string | undefined): JsonApi {
    return new JsonApi(this.#url, token);
  }

  get(path: string): Promise<JsonAnswer> {
    return this.call('GET', path);
  }

  /** What must be answered with 200. */
  async fetch(verb: string, path: string, body?: unknown): Promise<JsonAnswer['json']> {
    const { status, json, text } = await this.call(verb, path, body);
    if (status !== 200) throw new Error(`${verb} ${path} was answered ${status}: ${text}`);
    return json;
  }

  async call(verb: string, path: string, body?: unknown): Promise<JsonAnswer> {
    const content = typeof body === 'string' ? body : body === undefined ? undefined : JSON.stringify(body);
    const { status, text, header } = await ask(`${this.#url}${path}`, {
      method: verb,
      headers: {
        ...(this.#token === undefined ? {} : { Authorization: `Bearer ${this.#token}` }),
        ...(content === undefined ? {} : { 'Content-Type': 'application/json' }),
      },
      ...(content === undefined ? {} : { body: content }),
    });
    return { status, text, header, json: text === '' ? undefined : JSON.parse(text) };
  }
}
