import { availableParallelism, loadavg } from 'node:os';
import type { IdleResult, Result } from './measure.ts';
import { median } from './percentiles.ts';
import type { Scenario, Size } from './scenarios.ts';

/** Collects what was measured, of each scenario once a round; shows the medians. */
export class Table {
  readonly #scenarios: readonly Scenario[];
  readonly #size: Size;
  readonly #results = new Map<string, Result[]>();
  readonly #idle = new Map<string, IdleResult[]>();

  constructor(scenarios: readonly Scenario[], size: Size) {
    this.#scenarios = scenarios;
    this.#size = size;
  }

  /** @returns A line for whoever waits. */
  add({ name }: Scenario, result: Result): string {
    push(this.#results, name, result);
    const { cpuUs, loadUs, besideUs, p50Ms, p99Ms, delivered, expected, perSec, subscriptions, problems } = result;
    const others = Object.entries(besideUs).map(([program, us]) => `${program} ${us.toFixed(1)}, `);
    return (
      `${cpuUs.toFixed(1).padStart(6)} µs (${others.join('')}load ${loadUs.toFixed(1)}), ` +
      `p50 ${p50Ms.toFixed(1)} p99 ${p99Ms.toFixed(1)} ms, ${perSec.toFixed(0)}/s, ${delivered} of ${expected}` +
      (subscriptions === undefined
        ? ''
        : `, ${subscriptions} subscriptions, ${figure(result.streamMib ?? 0, 0)} MiB, busiest × ${figure(result.busiest ?? 1, 2)}`) +
      `${problems.map((text) => `; ${text}`).join('')}\n`
    );
  }

  addIdle({ name }: Scenario, result: IdleResult): string {
    push(this.#idle, name, result);
    const { kibPerListener, cpuPercent, connected, problems } = result;
    return (
      `${kibPerListener.toFixed(1).padStart(6)} KiB, ${connected} listeners, ${cpuPercent.toFixed(1)} % of a core` +
      `${problems.map((text) => `; ${text}`).join('')}\n`
    );
  }

  toMarkdown(): string {
    const { listeners } = this.#size;
    return [
      this.#costs(
        'delivery',
        `| a delivery (${listeners} listeners × 10 channels × 100 messages/s; one channel: 5,000 × 8/s) | CPU µs | × bare | p50 / p99 ms | delivered / expected |`,
      ),
      this.#costs(
        'message',
        '| a message published (4,000 channels) | CPU µs | × bare | p50 / p99 ms | accepted / sent |',
      ),
      this.#memory(),
    ]
      .filter((part) => part !== '')
      .join('\n');
  }

  #costs(kind: 'delivery' | 'message', head: string): string {
    const rows = this.#scenarios.flatMap((scenario) => {
      const results = this.#results.get(scenario.name);
      if (scenario.measure.kind !== kind || results === undefined) return [];
      const cpu = median(results.map(({ cpuUs }) => cpuUs));
      const bare = this.#results.get(scenario.beside ?? '')?.map(({ cpuUs }) => cpuUs) ?? [];
      const p50 = median(results.map(({ p50Ms }) => p50Ms));
      const p99 = median(results.map(({ p99Ms }) => p99Ms));
      const [delivered, expected] = [sum(results, 'delivered'), sum(results, 'expected')];
      return [
        `| ${scenario.says} | ${figure(cpu)} | ${figure(cpu / median(bare), 2)} | ${figure(p50)} / ${figure(p99)} | ` +
          `${count(delivered)} / ${count(expected)} |`,
      ];
    });
    return rows.length === 0 ? '' : `${head}\n|---|---:|---:|---:|---:|\n${rows.join('\n')}\n`;
  }

  #memory(): string {
    const rows = this.#scenarios.flatMap(({ name, says }) => {
      const results = this.#idle.get(name);
      if (results === undefined) return [];
      const kib = median(results.map(({ kibPerListener }) => kibPerListener));
      return [`| ${says} | ${figure(kib)} | ${count(results[0]?.connected ?? 0)} |`];
    });
    return rows.length === 0
      ? ''
      : `| memory of the process | KiB | listeners |\n|---|---:|---:|\n${rows.join('\n')}\n`;
  }
}

/** Taken before anything is started. */
export function machineLine(): string {
  const [load = 0] = loadavg();
  const cpu = process.platform === 'linux' ? '' : ' CPU and memory are read from Linux only: no figures here.';
  return (
    `${availableParallelism()} cores, Node ${process.version}, ${process.platform} ${process.arch}; load average before: ` +
    `${load.toFixed(1)}. Servers and load share these cores, so latencies are upper bounds; compare figures of one run.${cpu}`
  );
}

function push<Value>(map: Map<string, Value[]>, key: string, value: Value): void {
  map.set(key, [...(map.get(key) ?? []), value]);
}

function sum(results: readonly Result[], key: 'delivered' | 'expected'): number {
  return results.reduce((total, result) => total + result[key], 0);
}

function figure(value: number, digits = 1): string {
  return !Number.isFinite(value) ? '–' : value.toFixed(digits);
}

function count(value: number): string {
  return value.toLocaleString('en');
}
