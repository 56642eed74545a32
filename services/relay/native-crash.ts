/** What a crash is until somebody has read the dump. */
export function nativeCrash() {
  return {
    platform: 'native',
    level: 'fatal',
    exception: {
      values: [
        {
          type: 'Minidump',
          value: 'A native crash',
          mechanism: { type: 'minidump', handled: false, synthetic: true },
        },
      ],
    },
  };
}
