// Tags of an encoded PublishRequest, for whoever reads it in place: field number and wire type in one byte. Compared with
// the generated code by the tests of those readers.

export const CHANNEL_ID = 0x0a;
export const MESSAGE_ID = 0x12;
export const CLIENT_TIMESTAMP = 0x1a;
export const PHASE = 0x20;
export const SEQUENCE = 0x28;
export const PAYLOAD = 0x32;
export const ORG_ID = 0x38;
export const COALESCE_WINDOW_MS = 0x40;

/** Of google.protobuf.Struct: a field, which has a name and a value. */
export const STRUCT_FIELD = 0x0a;
export const FIELD_NAME = 0x0a;
export const FIELD_VALUE = 0x12;
/** Of google.protobuf.Value. */
export const VALUE_NULL = 0x08;
export const VALUE_NUMBER = 0x11;
export const VALUE_STRING = 0x1a;
export const VALUE_BOOL = 0x20;
export const VALUE_STRUCT = 0x2a;
export const VALUE_LIST = 0x32;
/** Of google.protobuf.ListValue. */
export const LIST_VALUE = 0x0a;
