import { Random } from './random.ts';

/** What is broken, from when on and for how long. A run's faults follow from its seed alone. */
export interface Fault {
  readonly kind: string;
  readonly atMs: number;
  readonly forMs: number;
  /** Chooses a replica, a server, an amount: what it means is the fault's. */
  readonly choice: number;
}

/** Faults that get in each other's way, such as all those of one server: one follows the other. */
export interface FaultGroup {
  readonly name: string;
  readonly kinds: readonly string[];
  /** From the begin of one to the begin of the next. */
  readonly everyMs: readonly [least: number, most: number];
  readonly forMs: readonly [least: number, most: number];
}

export interface Plan {
  /** By group, each in the order of time. */
  readonly faults: ReadonlyMap<string, readonly Fault[]>;
}

/** Every kind of a group comes once before one comes again, so that short runs have as many kinds as fit. */
export function makePlan(seed: number, groups: readonly FaultGroup[], lengthMs: number): Plan {
  const random = new Random(seed);
  const faults = new Map<string, Fault[]>();
  for (const { name, kinds, everyMs, forMs } of groups) {
    const own = random.fork();
    const planned: Fault[] = [];
    let bag: string[] = [];
    for (let atMs = own.whole(200, everyMs[0]); atMs < lengthMs; atMs += own.whole(...everyMs)) {
      if (bag.length === 0) bag = own.shuffled(kinds);
      planned.push({ kind: bag.pop() ?? '', atMs, forMs: own.whole(...forMs), choice: own.whole(0, 1_000_000) });
    }
    faults.set(name, planned);
  }
  return { faults };
}
