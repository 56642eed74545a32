import { isObject, type JsonObject } from '../json.ts';
import { exceptionsOf } from './event-parts.ts';

/** What errors of well-known extensions and toolbars say, in lower case. */
const PHRASES: readonly string[] = [
  'top.globals',
  'originalcreatenotification',
  'canvas.contentdocument',
  'myapp_removeallhighlights',
  'http://tt.epicplay.com',
  "can't find variable: zitereader",
  'jigsaw is not defined',
  'combosearch is not defined',
  'http://loading.retry.widdit.com/',
  'atomicfindclose',
  'fb_xd_fragment',
  'bmi_safeaddonload',
  'ebcallbackmessagereceived',
  'conduitpage',
  "null is not an object (evaluating 'elt.parentnode')",
];

const SCHEMES: readonly string[] = [
  'chrome://',
  'chrome-extension://',
  'moz-extension://',
  'safari-extension://',
  'safari-web-extension://',
  'ms-browser-extension://',
  'webkit-masked-url://',
];

/** Where scripts of extensions are loaded from. */
const PLACES: readonly string[] = [
  'graph.facebook.com',
  'connect.facebook.net/en_us/all.js',
  'eatdifferent.com.woopra-ns.com',
  'static.woopra.com/js/woopra.js',
  'webappstoolbarba.texthelp.com/',
  'metrics.itunes.apple.com.edgesuite.net/',
  'kaspersky-labs.com',
];

const ANONYMOUS: ReadonlySet<unknown> = new Set(['<anonymous>', '[native code]']);

/** Caused by an extension: by what the first exception says, or where it was thrown. */
export function browserExtensions(event: JsonObject): boolean {
  const [exception] = exceptionsOf(event);
  if (exception === undefined) return false;
  const value = typeof exception['value'] === 'string' ? exception['value'].toLowerCase() : '';
  if (value !== '' && PHRASES.some((phrase) => value.includes(phrase))) return true;
  const place = placeOf(exception);
  if (place === undefined) return false;
  return SCHEMES.some((scheme) => place.startsWith(scheme)) || PLACES.some((each) => place.includes(each));
}

/** Of the last frame that says where it is. */
function placeOf({ stacktrace }: JsonObject): string | undefined {
  const frames = isObject(stacktrace) ? stacktrace['frames'] : undefined;
  if (!Array.isArray(frames)) return undefined;
  const frame = frames.findLast((each) => isObject(each) && !ANONYMOUS.has(each['abs_path']));
  const path = isObject(frame) ? frame['abs_path'] : undefined;
  return typeof path === 'string' ? path.toLowerCase() : undefined;
}
