import { LRUCache } from 'lru-cache';
import type { PlainFilters, ProcessInput, ProcessProject } from '../processing.ts';
import { isRead, READ_HEADERS, type Work, type WorkItem } from './work.ts';

/**
 * A batch on its way to a thread. Cloning objects costs both threads more than writing and reading a text, and cloning a
 * view clones all of the request that it is a view of: so everything but payloads is one text, and payloads that are read
 * are copied into one buffer, which changes hands. What isn't read, attachments, stays.
 */
export interface BatchMessage {
  /** JSON of {@link WireBatch}. */
  readonly text: string;
  /** JSON, each by itself: a thread knows most of them already. */
  readonly filters: readonly string[];
  /** Payloads one after another. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

interface WireBatch {
  readonly projects: readonly WireProject[];
  readonly envelopes: readonly WireEnvelope[];
}

type WireProject = readonly [
  organizationId: string,
  projectId: string,
  keyId: string,
  retentionDays: number,
  scrubIpAddresses: boolean,
  filters: number,
];

type WireEnvelope = readonly [
  project: number,
  eventId: string | null,
  sentAtMs: number | null,
  receivedMs: number,
  remoteAddr: string | null,
  userAgent: string | null,
  client: string | null,
  items: readonly WireItem[],
];

type WireItem = readonly [type: string, sizeBytes: number, attachmentType?: string | null, headers?: object | null];

/** The text of filters is made once for each that the project cache holds. */
const texts = new WeakMap<PlainFilters, string>();

export function encodeBatch(inputs: readonly ProcessInput[]): BatchMessage {
  const projects = new Table<ProcessProject>();
  const filters = new Table<string>();
  const wireProjects: WireProject[] = [];
  let length = 0;
  const envelopes = inputs.map(({ envelope, sender, project }): WireEnvelope => {
    const index = projects.indexOf(project);
    if (index === wireProjects.length) wireProjects.push(wireProjectOf(project, filters));
    return [
      index,
      envelope.eventId ?? null,
      envelope.sentAtMs ?? null,
      sender.receivedMs,
      sender.remoteAddr ?? null,
      sender.userAgent ?? null,
      sender.client ?? null,
      envelope.items.map(({ type, attachmentType, headers, payload }): WireItem => {
        if (isRead(type)) length += payload.byteLength;
        const read = readHeaders(headers);
        if (read !== undefined) return [type, payload.byteLength, attachmentType ?? null, read];
        return attachmentType === undefined ? [type, payload.byteLength] : [type, payload.byteLength, attachmentType];
      }),
    ];
  });
  const wire: WireBatch = { projects: wireProjects, envelopes };
  return { text: JSON.stringify(wire), filters: filters.values, bytes: pack(inputs, length) };
}

export function decodeBatch({ text, filters, bytes }: BatchMessage): Work[] {
  const wire = JSON.parse(text) as WireBatch;
  const projects = wire.projects.map((each) => projectOf(each, filters));
  let at = 0;
  return wire.envelopes.map(
    ([project, eventId, sentAtMs, receivedMs, remoteAddr, userAgent, client, items]): Work => ({
      eventId: eventId ?? undefined,
      sentAtMs: sentAtMs ?? undefined,
      sender: {
        receivedMs,
        remoteAddr: remoteAddr ?? undefined,
        userAgent: userAgent ?? undefined,
        client: client ?? undefined,
      },
      project: projects[project]!,
      items: items.map(([type, sizeBytes, attachmentType, headers]): WorkItem => {
        const isHere = isRead(type);
        const payload = isHere ? bytes.subarray(at, at + sizeBytes) : undefined;
        if (isHere) at += sizeBytes;
        return {
          type,
          sizeBytes,
          attachmentType: attachmentType ?? undefined,
          headers: (headers ?? {}) as WorkItem['headers'],
          payload,
        };
      }),
    }),
  );
}

function wireProjectOf(project: ProcessProject, filters: Table<string>): WireProject {
  let text = texts.get(project.filters);
  if (text === undefined) {
    text = JSON.stringify(project.filters);
    texts.set(project.filters, text);
  }
  return [
    String(project.organizationId),
    String(project.projectId),
    String(project.keyId),
    project.retentionDays,
    project.scrubIpAddresses,
    filters.indexOf(text),
  ];
}

/** What a thread made of filters' texts: the same object for the same text, so that it is compiled once. */
const knownFilters = new LRUCache<string, PlainFilters>({ max: 1000 });

function projectOf(wire: WireProject, filters: readonly string[]): ProcessProject {
  const [organizationId, projectId, keyId, retentionDays, scrubIpAddresses, index] = wire;
  const text = filters[index]!;
  let known = knownFilters.get(text);
  if (known === undefined) {
    known = JSON.parse(text) as PlainFilters;
    knownFilters.set(text, known);
  }
  return {
    organizationId: BigInt(organizationId),
    projectId: BigInt(projectId),
    keyId: BigInt(keyId),
    retentionDays,
    scrubIpAddresses,
    filters: known,
  };
}

function readHeaders(headers: Readonly<Record<string, unknown>>): Record<string, unknown> | undefined {
  let read: Record<string, unknown> | undefined;
  for (const name of READ_HEADERS) {
    const value = headers[name];
    if (value === undefined) continue;
    read ??= {};
    read[name] = value;
  }
  return read;
}

function pack(inputs: readonly ProcessInput[], length: number): Uint8Array<ArrayBuffer> {
  // Of its own memory, not of Node's pool: that can't change hands.
  const bytes = Buffer.allocUnsafeSlow(length);
  let at = 0;
  for (const { envelope } of inputs) {
    for (const { type, payload } of envelope.items) {
      if (!isRead(type)) continue;
      bytes.set(payload, at);
      at += payload.byteLength;
    }
  }
  return bytes;
}

/** Values by the order in which they came. */
class Table<Value> {
  readonly values: Value[] = [];
  readonly #indexes = new Map<Value, number>();

  indexOf(value: Value): number {
    const known = this.#indexes.get(value);
    if (known !== undefined) return known;
    this.#indexes.set(value, this.values.length);
    return this.values.push(value) - 1;
  }
}
