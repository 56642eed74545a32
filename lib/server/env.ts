import { accessSync, constants } from 'node:fs';

/** A setting that is missing or wrong. The message is one line, names the setting, and never shows a secret. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/** Reads settings by name. Only main.ts files make one, of process.env. An empty value counts as not set. */
export class Env {
  readonly #values: Readonly<Record<string, string | undefined>>;

  constructor(values: Readonly<Record<string, string | undefined>>) {
    this.#values = values;
  }

  get isProduction(): boolean {
    return this.text('NODE_ENV') === 'production';
  }

  text(name: string): string | undefined {
    const value = this.#values[name];
    return value === undefined || value === '' ? undefined : value;
  }

  required(name: string): string {
    const value = this.text(name);
    if (value === undefined) throw new ConfigError(`${name} is not set`);
    return value;
  }

  integer(name: string, fallback: number, min: number, max: number): number {
    // Not `1 << 40`: that is 256, and no value is between the bounds.
    if (fallback < min || fallback > max) throw new RangeError(`${name}: ${fallback} is not from ${min} to ${max}`);
    const text = this.text(name);
    if (text === undefined) return fallback;
    const value = Number(text);
    if (!/^\d+$/.test(text.trim()) || value < min || value > max) {
      throw new ConfigError(`${name} must be a whole number from ${min} to ${max}`);
    }
    return value;
  }

  /** The path of a file that can be read now. */
  readableFile(name: string): string | undefined {
    const path = this.text(name);
    if (path === undefined) return undefined;
    try {
      accessSync(path, constants.R_OK);
    } catch {
      throw new ConfigError(`${name}: ${path} can't be read`);
    }
    return path;
  }

  port(name: string, fallback: number): number {
    return this.integer(name, fallback, 0, 65_535);
  }

  /** Seconds, as the setting is named, in ms, as the code counts. */
  secondsAsMs(name: string, fallbackSec: number, minSec: number, maxSec: number): number {
    return this.integer(name, fallbackSec, minSec, maxSec) * 1000;
  }
}
