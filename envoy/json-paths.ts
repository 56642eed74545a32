import { type DescMethod, type DescService, getOption, hasOption } from '@bufbuild/protobuf';
import { http } from '#gen/google/api/annotations_pb.ts';

/** The paths of a service's JSON forms, read from its contract, as regular expressions for Envoy. */

/** Matches every path that has a form of one of the services' calls. */
export function pathsOf(services: readonly DescService[]): string {
  const patterns = new Set(services.flatMap(({ methods }) => methods.flatMap(templatesOf)).map(patternOf));
  return [...patterns].sort().join('|');
}

/** The names of all variables in the paths, as both of JSON's spellings have them. */
export function pathVariablesOf(services: readonly DescService[]): string[] {
  const names = new Set<string>();
  for (const method of services.flatMap(({ methods }) => methods)) {
    for (const template of templatesOf(method)) {
      for (const [, name = ''] of template.matchAll(/\{(\w+)\}/g)) {
        names.add(name);
        names.add(method.input.fields.find((field) => field.name === name)?.jsonName ?? name);
      }
    }
  }
  return [...names].sort();
}

function templatesOf(method: DescMethod): string[] {
  if (!hasOption(method, http)) return [];
  const rule = getOption(method, http);
  return [rule, ...rule.additionalBindings].flatMap(({ pattern }) =>
    typeof pattern.value === 'string' ? [pattern.value] : [],
  );
}

function patternOf(template: string): string {
  return template.replace(/[.*+?]/g, '\\$&').replace(/\{\w+\}/g, '[^/]+');
}
