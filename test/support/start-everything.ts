import { startDeployment } from './deployment.ts';
import { startPostgres } from './postgres.ts';
import { startRedis } from './redis.ts';
import { startStory } from './story.ts';

// A program that starts what tests start, says so, and cleans nothing up: it is killed.

const redis = await startRedis();
await startPostgres();
await startDeployment({ redisUrl: redis.url });
await startStory();
process.stdout.write('started\n');
setInterval(() => {}, 1 << 30);
