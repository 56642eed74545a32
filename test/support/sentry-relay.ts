import { generateKeyPairSync, type KeyObject, randomUUID, sign } from 'node:crypto';

/** A relay that speaks Sentry's upstream protocol, by the facts about it and nothing of ours. */
export interface SentryRelay {
  readonly id: string;
  /** base64url, as settings and registrations have it. */
  readonly publicKey: string;
  post(path: string, body: unknown, options?: PostOptions): Promise<Answer>;
  /** Asks for a challenge and answers it. */
  register(): Promise<{ readonly challenge: Answer; readonly response: Answer | undefined }>;
}

export interface RelayKeys {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

export interface PostOptions {
  readonly signedAtMs?: number;
  /** In place of the right headers; undefined leaves one out. */
  readonly headers?: Readonly<Record<string, string | undefined>>;
  /** Sent in place of what was signed. */
  readonly sentBody?: string;
}

export interface Answer {
  readonly status: number;
  readonly json: AnswerBody;
}

/** What the protocol's answers are made of. Which of it is there depends on the endpoint. */
export interface AnswerBody {
  readonly configs: Readonly<Record<string, { readonly rev: string; readonly config: object } | null>>;
  readonly pending: readonly string[];
  readonly unchanged: readonly string[];
  readonly relay_id: string;
  readonly token: string;
}

/** With a key of its own, unless it is given one. */
export function createSentryRelay(
  baseUrl: string,
  { publicKey, privateKey }: RelayKeys = generateKeyPairSync('ed25519'),
): SentryRelay {
  const own = publicKey.export({ format: 'jwk' }).x ?? '';
  const id = randomUUID();

  async function post(path: string, body: unknown, options: PostOptions = {}): Promise<Answer> {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    const all: Record<string, string | undefined> = {
      'content-type': 'application/json',
      'x-sentry-relay-id': id,
      'x-sentry-relay-signature': signBody(text, privateKey, options.signedAtMs ?? Date.now()),
      ...options.headers,
    };
    const headers = Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== undefined);
    const response = await fetch(baseUrl + path, { method: 'POST', body: options.sentBody ?? text, headers });
    const answer = await response.text();
    return { status: response.status, json: JSON.parse(answer) };
  }

  return {
    id,
    publicKey: own,
    post,
    async register() {
      const challenge = await post('/api/0/relays/register/challenge/', {
        relay_id: id,
        public_key: own,
        version: '26.1.0',
      });
      if (challenge.status !== 200) return { challenge, response: undefined };
      const { relay_id, token } = challenge.json;
      const response = await post('/api/0/relays/register/response/', { relay_id, token, version: '26.1.0' });
      return { challenge, response };
    },
  };
}

export function signBody(body: string, key: KeyObject, signedAtMs: number): string {
  const header = Buffer.from(JSON.stringify({ t: new Date(signedAtMs).toISOString() }));
  const signature = sign(null, Buffer.concat([header, Buffer.from([0]), Buffer.from(body)]), key);
  return `${signature.toString('base64url')}.${header.toString('base64url')}`;
}
