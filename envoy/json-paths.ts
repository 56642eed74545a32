import { type DescMethod, type DescService, getOption, hasOption } from '@bufbuild/protobuf';
import { http } from '#gen/google/api/annotations_pb.ts';

/** How a call looks as JSON, as its contract says. */
export interface HttpForm {
  readonly method: DescMethod;
  /** As in `PATCH`. */
  readonly verb: string;
  /** As in `/v1/organizations/{organization}`. */
  readonly template: string;
  /** The field of the request that the body is, `*` for the whole request, or empty. */
  readonly body: string;
}

export function httpFormsOf(service: DescService): HttpForm[] {
  return service.methods.flatMap((method) => {
    if (!hasOption(method, http)) return [];
    const rule = getOption(method, http);
    return [rule, ...rule.additionalBindings].flatMap(({ pattern, body }) =>
      typeof pattern.value === 'string'
        ? [{ method, verb: pattern.case.toUpperCase(), template: pattern.value, body }]
        : [],
    );
  });
}

/**
 * Each matches one path of the services' calls, with the slash at its end that the transcoder passes over. All in one
 * expression would be larger than Envoy takes.
 */
export function pathsOf(services: readonly DescService[]): string[] {
  const patterns = services.flatMap(httpFormsOf).map(({ template }) => patternOf(template));
  return [...new Set(patterns)].sort().map((pattern) => `${pattern}/?`);
}

/** The names of all variables in the paths, as both of JSON's spellings have them. */
export function pathVariablesOf(services: readonly DescService[]): string[] {
  const names = services.flatMap(httpFormsOf).flatMap(({ method, template }) =>
    [...template.matchAll(/\{(\w+)\}/g)].flatMap(([, name = '']) => {
      const field = method.input.fields.find((candidate) => candidate.name === name);
      return [name, field?.jsonName ?? name];
    }),
  );
  return [...new Set(names)].sort();
}

function patternOf(template: string): string {
  return template.replace(/[.*+?]/g, '\\$&').replace(/\{\w+\}/g, '[^/]+');
}
