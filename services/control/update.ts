import { clone, type DescField, type DescMessage, getOption, hasOption, type MessageShape } from '@bufbuild/protobuf';
import { type ReflectMessage, reflect } from '@bufbuild/protobuf/reflect';
import type { FieldMask } from '@bufbuild/protobuf/wkt';
import { FieldBehavior, field_behavior } from '#gen/google/api/field_behavior_pb.ts';
import { FilterSettingsSchema, ScrubbingSettingsSchema } from '#gen/tideway/control/v1/resources_pb.ts';
import { invalidField } from '#lib/server/refusal.ts';
import { StoreRefusal } from '#lib/store/store-errors.ts';

/** What an update asks for. */
export interface Update<T> {
  /** The resource as it would be. */
  readonly result: T;
  /** The fields of the resource that it names, or that are set. */
  readonly fields: ReadonlySet<string>;
  /** It changes a part of a field, so that the result holds for the resource that was read and for no other. */
  readonly isPartial: boolean;
}

/** Settings whose fields are changed one by one. Every other message is a value, and replaced. */
const GROUPS: ReadonlySet<string> = new Set([FilterSettingsSchema.typeName, ScrubbingSettingsSchema.typeName]);

/** A path that names nothing else is said in an error, so it is kept short. */
const MAX_PATHS = 64;

/**
 * Applies an update as the contract says: what the mask names, or else what is set. Output only fields, and the etag, are
 * passed over; so is what can't be changed, where it is what it was.
 * @throws Refusal for a path that is none, and for a field that can't be changed
 */
export function applyUpdate<Desc extends DescMessage>(
  schema: Desc,
  current: MessageShape<Desc>,
  update: MessageShape<Desc>,
  mask: FieldMask | undefined,
): Update<MessageShape<Desc>> {
  const result = clone(schema, current);
  const target = reflect(schema, result);
  const source = reflect(schema, update);
  const fields = new Set<string>();
  let isPartial = false;
  for (const [field, inner] of namedFields(schema, source, mask?.paths ?? [])) {
    if (isPassedOver(field)) continue;
    if (behavesAs(field, FieldBehavior.IMMUTABLE)) {
      if (source.get(field) !== target.get(field)) throw invalidField(`update.${field.name}`, 'can not be changed');
      continue;
    }
    fields.add(field.name);
    if (inner === undefined) {
      copyField(field, source, target);
    } else {
      isPartial = true;
      copyField(inner, innerOf(source, field), innerOf(target, field));
    }
  }
  return { result, fields, isPartial };
}

/**
 * Updates what may change meanwhile: a partial update holds for what was read only, and is made again of what is there
 * now, unless the caller said by an etag what it has seen.
 */
export async function updateResource<R extends { readonly etag: string }, T>(
  etag: string,
  read: () => Promise<R>,
  apply: (current: R) => Update<T>,
  write: (update: Update<T>, etag: string) => Promise<R>,
): Promise<R> {
  for (let attempt = 1; ; attempt++) {
    const current = await read();
    const update = apply(current);
    try {
      return await write(update, etag === '' && update.isPartial ? current.etag : etag);
    } catch (error) {
      const isStale = error instanceof StoreRefusal && error.reason === 'etag';
      if (!isStale || etag !== '' || attempt === MAX_ATTEMPTS) throw error;
    }
  }
}

const MAX_ATTEMPTS = 5;

type NamedField = readonly [field: DescField, inner: DescField | undefined];

function namedFields(schema: DescMessage, source: ReflectMessage, paths: readonly string[]): NamedField[] {
  if (paths.length === 0) return setFields(source);
  if (paths.length > MAX_PATHS) throw invalidField('update_mask', `must have at most ${MAX_PATHS} paths`);
  return paths.flatMap((path): NamedField[] => {
    if (path === '*') return schema.fields.filter((field) => !isFixed(field)).map((field) => [field, undefined]);
    const [name, innerName, ...rest] = path.split('.');
    const field = schema.fields.find((candidate) => candidate.name === name);
    if (field !== undefined && innerName === undefined) return [[field, undefined]];
    const inner = field === undefined || rest.length > 0 ? undefined : groupOf(field)?.fields;
    const innerField = inner?.find((candidate) => candidate.name === innerName);
    if (field === undefined || innerField === undefined) throw invalidField('update_mask', 'names no such field');
    return [[field, innerField]];
  });
}

function setFields(source: ReflectMessage): NamedField[] {
  return source.sortedFields
    .filter((field) => source.isSet(field))
    .flatMap((field): NamedField[] => {
      if (groupOf(field) === undefined) return [[field, undefined]];
      const group = innerOf(source, field);
      return group.sortedFields.filter((inner) => group.isSet(inner)).map((inner) => [field, inner]);
    });
}

function groupOf(field: DescField): DescMessage | undefined {
  return field.fieldKind === 'message' && GROUPS.has(field.message.typeName) ? field.message : undefined;
}

function innerOf(message: ReflectMessage, field: DescField): ReflectMessage {
  if (field.fieldKind !== 'message') throw new Error(`${field.name} is no message`);
  if (!message.isSet(field)) message.set(field, reflect(field.message));
  return message.get(field);
}

function copyField(field: DescField, source: ReflectMessage, target: ReflectMessage): void {
  if (source.isSet(field)) target.set(field, source.get(field));
  else target.clear(field);
}

function isFixed(field: DescField): boolean {
  return isPassedOver(field) || behavesAs(field, FieldBehavior.IMMUTABLE);
}

function isPassedOver(field: DescField): boolean {
  return field.name === 'etag' || behavesAs(field, FieldBehavior.OUTPUT_ONLY);
}

function behavesAs(field: DescField, behavior: FieldBehavior): boolean {
  return hasOption(field, field_behavior) && getOption(field, field_behavior).includes(behavior);
}
