import { type JsonObject, typed } from './json.ts';

const LUA = 'envoy.filters.http.lua';

/**
 * Holds a unary answer back until it is whole, on the service's side of the router.
 *
 * The router sends nothing again once it has seen the head of an answer, and a service writes one in several pieces: gRPC's
 * status comes after the message. Without this a replica that is killed between two pieces takes the call with it, and of
 * those that are under way at a kill -9 under load that is several. Answers are small, and they are held within the
 * connection's buffer limit.
 */
export const wholeAnswers: JsonObject = {
  name: LUA,
  typed_config: typed('envoy.extensions.filters.http.lua.v3.Lua', {
    default_source_code: {
      inline_string: "function envoy_on_response(answer) if answer:metadata():get('whole') then answer:body() end end",
    },
  }),
};

/** Asks for {@link wholeAnswers} on a route. */
export const holdUntilWhole: JsonObject = { filter_metadata: { [LUA]: { whole: true } } };
