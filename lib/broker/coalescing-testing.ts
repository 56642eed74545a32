import { type Broker, BrokerUnavailableError, type Entry } from './broker.ts';
import { BEFORE_ALL } from './entry-id.ts';
import { createMemoryBroker } from './memory-broker.ts';

// A channel that coalesces, as tests of following have it: text is a letter, and what is not text begins with `!`.

export const WINDOW_MS = 50;
/** Of letters: where pieces begin is the same for everybody. */
const PIECE = 5;

/** A broker whose answers are pieces wherever they can be, and whose live delivery and answers a test can cut. */
export class Pieces {
  readonly memory: Broker;
  live = true;
  answers = true;
  reads = 0;
  /** Live delivery. */
  hear: (entry: Entry) => void = () => {};
  #interrupted = () => {};

  constructor(options: Parameters<typeof createMemoryBroker>[0] = {}) {
    this.memory = createMemoryBroker(options);
  }

  get broker(): Broker {
    const { memory } = this;
    return new Proxy(memory, {
      get: (_, name) => {
        if (name === 'read') return this.#read;
        if (name === 'listen') {
          return (...[channel, onEntry]: Parameters<Broker['listen']>) => {
            this.hear = onEntry;
            return memory.listen(channel, (entry) => this.live && onEntry(marked(entry)));
          };
        }
        if (name === 'onInterruption') {
          return (callback: () => void) => {
            this.#interrupted = callback;
          };
        }
        const member: unknown = Reflect.get(memory, name, memory);
        return typeof member === 'function' ? member.bind(memory) : member;
      },
    });
  }

  interrupt(): void {
    this.#interrupted();
  }

  readonly #read: Broker['read'] = async (channel, after, limit) => {
    this.reads++;
    if (!this.answers) throw new BrokerUnavailableError('cut');
    const { entries: all, tail } = await this.memory.read(channel, BEFORE_ALL, 100_000);
    const pieces = piecesOf(all);
    const from = pieces.findIndex(({ prev }) => prev === after);
    if (from >= 0) return { entries: pieces.slice(from, from + limit), tail };
    const { entries } = await this.memory.read(channel, after, limit);
    return { entries: entries.map(marked), tail };
  };
}

export const textOf = ({ data }: Entry) => new TextDecoder().decode(data);

export function marked(entry: Entry): Entry {
  return textOf(entry).startsWith('!') || entry.kind !== 'message' ? entry : { ...entry, coalesceMs: WINDOW_MS };
}

function piecesOf(entries: readonly Entry[]): Entry[] {
  const pieces: Entry[] = [];
  for (const entry of entries.map(marked)) {
    const before = pieces.at(-1);
    const joins = before?.coalesceMs !== undefined && entry.coalesceMs !== undefined && before.data.length < PIECE;
    if (!joins) pieces.push(entry);
    else pieces[pieces.length - 1] = { ...entry, prev: before.prev, data: Buffer.concat([before.data, entry.data]) };
  }
  return pieces;
}
