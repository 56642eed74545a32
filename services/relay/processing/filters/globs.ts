import type { PlainFilters } from '../../processing.ts';
import { isObject, type JsonObject } from '../json.ts';
import { exceptionsOf } from './event-parts.ts';
import type { Filter } from './filter.ts';
import { compileGlobs } from './glob.ts';

export function releases({ releases: patterns }: PlainFilters): Filter | undefined {
  return onText(patterns, ({ release }) => release);
}

export function transactions({ transactions: patterns }: PlainFilters): Filter | undefined {
  return onText(patterns, ({ type, transaction }) => (type === 'transaction' ? transaction : undefined));
}

/** What an event says: its message, and of each exception `type: value`. */
export function errorMessages({ errorMessages: patterns }: PlainFilters): Filter | undefined {
  if (patterns.length === 0) return undefined;
  const glob = compileGlobs(patterns);
  return (event) => {
    const message = messageOf(event);
    if (message !== undefined && glob.matches(message.toLowerCase())) return true;
    return exceptionsOf(event).some(({ type, value }) => {
      const text = [type, value].filter((each) => typeof each === 'string' && each !== '').join(': ');
      return text !== '' && glob.matches(text.toLowerCase());
    });
  };
}

function messageOf({ logentry }: JsonObject): string | undefined {
  if (!isObject(logentry)) return undefined;
  const { formatted, message } = logentry;
  if (typeof formatted === 'string' && formatted !== '') return formatted;
  return typeof message === 'string' ? message : undefined;
}

function onText(patterns: readonly string[], textOf: (event: JsonObject) => unknown): Filter | undefined {
  if (patterns.length === 0) return undefined;
  const glob = compileGlobs(patterns);
  return (event) => {
    const text = textOf(event);
    return typeof text === 'string' && glob.matches(text.toLowerCase());
  };
}
