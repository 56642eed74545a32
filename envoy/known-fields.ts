import { readFileSync } from 'node:fs';
import type { DescField, DescMessage, DescService } from '@bufbuild/protobuf';
import { type HttpForm, httpFormsOf } from './json-paths.ts';

const SCRIPT = readFileSync(new URL('known-fields.lua', import.meta.url), 'utf8');

/** Messages whose JSON is not their fields, or that take any. */
const OF_ANY_FORM = /^google\.protobuf\./;

/** The Lua script that refuses fields which the services' contracts don't have, with what it needs to know of them. */
export function knownFieldsScript(services: readonly DescService[]): string {
  const bodies: string[] = [];
  const messages = new Map<string, DescMessage>();
  for (const form of services.flatMap(httpFormsOf)) {
    const body = bodyOf(form);
    if (body === undefined) continue;
    addMessages(body, messages);
    bodies.push(`{${[form.verb, luaPattern(form.template), body.typeName].map(quoted).join(', ')}}`);
  }
  const tables = [...messages.values()].map((message) => `[${quoted(message.typeName)}] = {${fieldsOf(message)}}`);
  return `local messages = {\n${tables.join(',\n')}\n}\nlocal bodies = {\n${bodies.join(',\n')}\n}\n${SCRIPT}`;
}

function bodyOf({ method, body }: HttpForm): DescMessage | undefined {
  if (body === '*') return method.input;
  return method.input.fields.find(({ name }) => name === body)?.message;
}

function addMessages(message: DescMessage, messages: Map<string, DescMessage>): void {
  if (messages.has(message.typeName)) return;
  messages.set(message.typeName, message);
  for (const field of message.fields) {
    const inner = messageOf(field);
    if (inner !== undefined) addMessages(inner, messages);
  }
}

function fieldsOf(message: DescMessage): string {
  return message.fields
    .flatMap((field) => [...new Set([field.name, field.jsonName])].map((name) => [name, field] as const))
    .map(([name, field]) => `[${quoted(name)}] = ${quoted(messageOf(field)?.typeName ?? '')}`)
    .join(', ');
}

function messageOf(field: DescField): DescMessage | undefined {
  // The names in a map are its own.
  if (field.fieldKind === 'map' || field.message === undefined) return undefined;
  return OF_ANY_FORM.test(field.message.typeName) ? undefined : field.message;
}

function luaPattern(template: string): string {
  const escaped = template.replace(/[-.*+?^$%[\]()]/g, '%$&');
  return `^${escaped.replace(/\{\w+\}/g, '[^/]+')}$`;
}

/** Names and paths of contracts: nothing that would have to be escaped. */
function quoted(text: string): string {
  return JSON.stringify(text);
}
