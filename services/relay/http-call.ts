import type { IncomingHttpHeaders } from 'node:http';
import type { DataCategory } from '#lib/ingest/data-category.ts';
import type { NodeServerRequest, NodeServerResponse } from '#lib/server/node-http.ts';
import type { Auth } from './auth.ts';
import { type BodyOptions, type BodySink, readBody, readBodyInto } from './body.ts';
import { clientAddressOf } from './client-address.ts';
import { type Encoding, readEncoding } from './decompress.ts';
import type { Envelope, Item, Sender } from './envelope.ts';
import { checkItems, type EnvelopeLimits } from './envelope-limits.ts';
import { memoryOf, shortened } from './envelope-memory.ts';
import { EnvelopeRefusal } from './envelope-refusal.ts';
import type { FairShares } from './fair-shares.ts';
import type { Accepted, Intake } from './intake.ts';

/** Something that was meant for a key and is not an envelope that we take. */
export interface InvalidRequest {
  readonly sender: Sender;
  /** As outcomes have it: `invalid_json`, `too_large:attachment` … */
  readonly reason: string;
  readonly category: DataCategory;
}

export interface IntakeOptions {
  readonly intake: Intake;
  readonly limits: EnvelopeLimits;
  /** Of the bodies that are being received, by caller. */
  readonly budget: FairShares<string>;
  /** Hears of what was refused here, and so never reaches the intake: it is owed an outcome. */
  readonly onInvalid: (invalid: InvalidRequest) => void;
}

const MAX_ORIGIN_LENGTH = 2048;
const MAX_USER_AGENT_LENGTH = 1024;

/** One request of the intake, from its headers on. */
export class IntakeCall {
  readonly request: NodeServerRequest;
  readonly response: NodeServerResponse;
  readonly query: string;
  readonly projectId: bigint | undefined;
  readonly options: IntakeOptions;
  /** Whom what it takes to receive it is counted for. */
  readonly #caller: string;
  readonly #encoding: Encoding | undefined;
  #sender: Sender | undefined;

  /** @throws EnvelopeRefusal */
  constructor(
    request: NodeServerRequest,
    response: NodeServerResponse,
    query: string,
    projectId: bigint | undefined,
    options: IntakeOptions,
    caller: string,
  ) {
    this.request = request;
    this.response = response;
    this.query = query;
    this.projectId = projectId;
    this.options = options;
    this.#caller = caller;
    this.#encoding = readEncoding(request.headers['content-encoding']);
  }

  get headers(): IncomingHttpHeaders {
    return this.request.headers;
  }

  /** Undefined: it is not known yet. */
  get sender(): Sender | undefined {
    return this.#sender;
  }

  get contentType(): string {
    const type = this.headers['content-type'] ?? '';
    const semicolon = type.indexOf(';');
    return (semicolon < 0 ? type : type.slice(0, semicolon)).trim().toLowerCase();
  }

  /** Says whose this is. */
  setSender(auth: Auth, projectId = this.projectId): Sender {
    const { headers, request } = this;
    const userAgent = headers['user-agent'];
    this.#sender = {
      publicKey: auth.publicKey,
      projectId,
      remoteAddr: clientAddressOf(headers, request.socket.remoteAddress),
      origin: originOf(headers),
      userAgent: userAgent === undefined ? undefined : shortened(userAgent, MAX_USER_AGENT_LENGTH),
      client: auth.client,
      receivedMs: Date.now(),
    };
    return this.#sender;
  }

  /** @throws EnvelopeRefusal */
  read(maxBytes: number): Promise<Buffer> {
    return readBody(this.request, this.#bodyOptions(maxBytes));
  }

  /** @throws EnvelopeRefusal */
  readInto(maxBytes: number, sink: BodySink): Promise<void> {
    return readBodyInto(this.request, this.#bodyOptions(maxBytes), sink);
  }

  #bodyOptions(maxBytes: number): BodyOptions {
    return { encoding: this.#encoding, maxBytes, budget: this.options.budget, caller: this.#caller };
  }

  /** Hands an envelope on, if it is within the limits. @throws EnvelopeRefusal */
  accept(envelope: Envelope, bodyBytes: number): Accepted {
    const sender = this.#sender;
    if (sender === undefined) throw new EnvelopeRefusal('missing_auth');
    checkItems(envelope.items, this.options.limits);
    return this.options.intake.accept({ sender, envelope, sizeBytes: memoryOf(sender, envelope, bodyBytes) });
  }
}

/** Of a browser's page. One that hides where it is says `null`. */
export function originOf(headers: IncomingHttpHeaders): string | undefined {
  const { origin, referer } = headers;
  const from = origin === undefined || origin === '' || origin === 'null' ? referer : origin;
  return from === undefined || from === '' ? undefined : shortened(from, MAX_ORIGIN_LENGTH);
}

/** An item that no item header came with. */
export function itemOf(type: string, payload: Uint8Array, more: Partial<Item> = {}): Item {
  return {
    type,
    contentType: undefined,
    filename: undefined,
    attachmentType: undefined,
    headers: {},
    ...more,
    payload,
  };
}

export function envelopeOf(eventId: string | undefined, items: readonly Item[]): Envelope {
  return { eventId, sentAtMs: undefined, headers: {}, items };
}
