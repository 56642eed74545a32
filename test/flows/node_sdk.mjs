// Reports one error by Sentry's Node SDK, as an application does, and prints the event's id.
import * as Sentry from '@sentry/node';

Sentry.init({ dsn: process.argv[2], release: 'node-app@1.2.3', environment: 'test' });
Sentry.setTag('flavour', 'node');
Sentry.setUser({ id: 'u-1', email: 'ada@example.com' });
Sentry.setContext('deep', { list: [1, 'two', 3.5] });
const id = Sentry.captureException(new RangeError('the process fell over'));
if (!(await Sentry.flush(10_000))) throw new Error('the event was not sent');
console.log(id);
