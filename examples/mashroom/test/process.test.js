// The real process: what it prints, and how it stops.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { test } from 'node:test';

const SERVER = new URL('../src/server.js', import.meta.url).pathname;

function start(env) {
  const child = spawn(process.execPath, [SERVER], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines = [];
  const waiting = [];
  createInterface({ input: child.stdout }).on('line', (text) => {
    const line = JSON.parse(text);
    lines.push(line);
    for (const { matches, resolve } of waiting) if (matches(line)) resolve(line);
  });
  const logged = (msg) => {
    const matches = (line) => line.msg === msg;
    return new Promise((resolve) => {
      const seen = lines.find(matches);
      if (seen) resolve(seen);
      else waiting.push({ matches, resolve });
    });
  };
  return { child, lines, logged, exit: once(child, 'exit') };
}

test('SIGTERM finishes the request under way and exits with 0', async () => {
  const app = start({ PORT: '0', APP_VERSION: 'from-env' });
  const { port, version } = await app.logged('listening');
  assert.equal(version, 'from-env');
  const answer = fetch(`http://127.0.0.1:${port}/work?ms=300`);
  // An answered request proves that the one sent before it has arrived.
  await fetch(`http://127.0.0.1:${port}/health`);
  app.child.kill('SIGTERM');
  await app.logged('stopping');
  await assert.rejects(fetch(`http://127.0.0.1:${port}/health`));
  assert.equal((await answer).status, 200);
  assert.deepEqual(await app.exit, [0, null]);
  assert.equal(app.lines.at(-1).msg, 'stopped');
});

test('a PORT that is no port is refused with a log line', async () => {
  const app = start({ PORT: 'http' });
  const line = await app.logged('cannot start');
  assert.match(line.error, /PORT must be a number/);
  assert.deepEqual(await app.exit, [1, null]);
});
