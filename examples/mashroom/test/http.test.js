import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createApp } from '../src/app.js';
import { listen } from '../src/lifecycle.js';
import { createLog } from '../src/log.js';

const FACTS = {
  task: '0f3a9c1e5b7d4e2f8a6b0c1d2e3f4a5b', taskArn: null, availabilityZone: 'us-east-1a',
  revision: '3', version: '9.9.9', node: process.versions.node,
};
const lines = [];
let server;
let base;

before(async () => {
  const log = createLog({ write: (line) => lines.push(JSON.parse(line)) });
  server = await listen(createApp({ facts: FACTS, log, uptime: () => 61 }), 0);
  base = `http://127.0.0.1:${server.address().port}`;
});
after(() => new Promise((resolve) => server.stopAccepting(resolve)));

test('/health answers 200', async () => {
  const response = await fetch(`${base}/health`);
  assert.equal(response.status, 200);
  assert.deepEqual(await response.json(), { status: 'ok' });
});

test('/api/info tells who served, and counts requests but not health checks', async () => {
  const first = await (await fetch(`${base}/api/info`)).json();
  await fetch(`${base}/health`);
  const second = await (await fetch(`${base}/api/info`)).json();
  assert.equal(first.shortTask, '0f3a9c1e');
  assert.equal(first.uptimeSeconds, 61);
  assert.equal(second.requests, first.requests + 1);
});

test('the page shows task, zone, version and uptime, and is not cached', async () => {
  const response = await fetch(`${base}/`);
  const html = await response.text();
  for (const text of ['0f3a9c1e', 'us-east-1a', '9.9.9 (revision 3)', '1 min 1 s']) {
    assert.ok(html.includes(text), text);
  }
  assert.equal(response.headers.get('cache-control'), 'no-store');
  assert.equal(response.headers.get('x-powered-by'), null);
});

test('/work burns what it is asked for and refuses nonsense', async () => {
  const work = await (await fetch(`${base}/work?ms=20`)).json();
  assert.equal(work.requestedMs, 20);
  assert.ok(work.cpuMs >= 20);
  for (const query of ['', '?ms=', '?ms=x', '?ms=-5', '?ms=99999999', '?ms=1&ms=2']) {
    assert.equal((await fetch(`${base}/work${query}`)).status, 400, query);
  }
});

test('what does not exist is a 404, a malformed path a 400, both in JSON', async () => {
  const missing = await fetch(`${base}/nowhere`);
  assert.equal(missing.status, 404);
  assert.deepEqual(await missing.json(), { error: 'nothing at /nowhere' });
  const malformed = await fetch(`${base}/%ff`);
  assert.ok([400, 404].includes(malformed.status));
});

test('every request leaves one log line', async () => {
  const at = lines.length;
  await (await fetch(`${base}/health`, { headers: { 'X-Amzn-Trace-Id': 'Root=1-abc' } })).text();
  const seen = lines.slice(at).filter((line) => line.trace === 'Root=1-abc');
  assert.equal(seen.length, 1);
  assert.equal(seen[0].path, '/health');
  assert.equal(seen[0].status, 200);
  assert.equal(seen[0].complete, true);
});

test('idle connections outlive those of the load balancer', () => {
  assert.ok(server.keepAliveTimeout > 60_000);
  assert.ok(server.headersTimeout > server.keepAliveTimeout);
});
