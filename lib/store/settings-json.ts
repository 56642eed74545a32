import {
  create,
  type DescMessage,
  fromJson,
  fromJsonString,
  type JsonValue,
  type MessageShape,
  toJson,
} from '@bufbuild/protobuf';
import {
  FilterSettingsSchema,
  type Quota,
  QuotaSchema,
  RateLimitSchema,
  ScrubbingSettingsSchema,
} from '#gen/tideway/control/v1/resources_pb.ts';

/**
 * The columns of settings hold the contract's JSON. A field that a newer version wrote is passed over: older processes
 * read on while a new version is rolled out.
 */
const READ = { ignoreUnknownFields: true };

export const filtersColumn = messageColumn(FilterSettingsSchema);
export const scrubbingColumn = messageColumn(ScrubbingSettingsSchema);
export const rateLimitColumn = messageColumn(RateLimitSchema);

export const quotasColumn = {
  encode: (quotas: readonly Quota[]): string => JSON.stringify(quotas.map((quota) => toJson(QuotaSchema, quota))),
  decode: (text: string): Quota[] =>
    text === '[]' ? [] : (JSON.parse(text) as JsonValue[]).map((json) => fromJson(QuotaSchema, json, READ)),
};

export const stringsColumn = {
  encode: (strings: readonly string[]): string => JSON.stringify(strings),
  decode: (text: string): string[] => JSON.parse(text) as string[],
};

function messageColumn<Desc extends DescMessage>(schema: Desc) {
  return {
    encode: (message: MessageShape<Desc>): string => JSON.stringify(toJson(schema, message)),
    /** Most projects have what they began with: that is not worth parsing. */
    decode: (text: string): MessageShape<Desc> => (text === '{}' ? create(schema) : fromJsonString(schema, text, READ)),
  };
}
