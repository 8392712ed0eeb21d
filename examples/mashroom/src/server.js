// The entry point: environment in, a running server out.

import { readFileSync } from 'node:fs';
import { createApp } from './app.js';
import { listen, stopOnSignal } from './lifecycle.js';
import { createLog } from './log.js';
import { describeTask } from './task.js';

const DEFAULT_PORT = 3000;

function readPort(text) {
  const port = text === undefined || text === '' ? DEFAULT_PORT : Number(text);
  if (!Number.isInteger(port) || port < 0 || port > 65535) {
    throw new Error(`PORT must be a number from 0 to 65535, not "${text}"`);
  }
  return port;
}

function readVersion() {
  const manifest = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  return JSON.parse(manifest).version;
}

async function main() {
  const port = readPort(process.env.PORT);
  const version = process.env.APP_VERSION || readVersion();
  const facts = await describeTask(process.env, { version, log: createLog() });
  const log = createLog(process.stdout, { task: facts.task, az: facts.availabilityZone });
  const server = await listen(createApp({ facts, log }), port);
  stopOnSignal(server, log);
  log.info('listening', {
    port: server.address().port,
    version,
    revision: facts.revision,
    node: facts.node,
    startMs: Math.round(process.uptime() * 1000),
  });
}

main().catch((error) => {
  createLog().error('cannot start', { error: error.message });
  process.exitCode = 1;
});
