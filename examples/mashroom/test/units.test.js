import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLog } from '../src/log.js';
import { duration, escape, hue, renderPage } from '../src/page.js';
import { describeTask, fromMetadata } from '../src/task.js';
import { burn, MAX_WORK_MS, parseMs } from '../src/work.js';

const silent = { info() {}, warn() {}, error() {} };
const METADATA = {
  TaskARN: 'arn:aws:ecs:us-east-1:000000000000:task/mashroom/0f3a9c1e5b7d4e2f8a6b0c1d2e3f4a5b',
  AvailabilityZone: 'us-east-1b',
  Revision: '7',
};

test('a log line is one JSON object with the base fields', () => {
  const lines = [];
  const log = createLog({ write: (line) => lines.push(line) }, { task: 't' }, () => new Date(0));
  log.info('hello', { n: 1, text: 'two\nlines' });
  assert.equal(lines.length, 1);
  assert.equal(lines[0].indexOf('\n'), lines[0].length - 1);
  assert.deepEqual(JSON.parse(lines[0]), {
    time: '1970-01-01T00:00:00.000Z', level: 'info', msg: 'hello', task: 't', n: 1, text: 'two\nlines',
  });
});

test('task facts come from the metadata endpoint', async () => {
  const asked = [];
  const facts = await describeTask(
    { ECS_CONTAINER_METADATA_URI_V4: 'http://169.254.170.2/v4/abc' },
    { version: '1', log: silent, fetchJson: async (url) => { asked.push(url); return METADATA; } },
  );
  assert.deepEqual(asked, ['http://169.254.170.2/v4/abc/task']);
  assert.equal(facts.task, '0f3a9c1e5b7d4e2f8a6b0c1d2e3f4a5b');
  assert.equal(facts.availabilityZone, 'us-east-1b');
  assert.equal(facts.revision, '7');
});

test('without an endpoint, or with a broken one, the host name stands in', async () => {
  const nowhere = await describeTask({}, { version: '1', log: silent });
  const broken = await describeTask(
    { ECS_CONTAINER_METADATA_URI_V4: 'http://x' },
    { version: '1', log: silent, fetchJson: async () => { throw new Error('refused'); } },
  );
  for (const facts of [nowhere, broken]) {
    assert.ok(facts.task.length > 0);
    assert.equal(facts.availabilityZone, 'local');
    assert.equal(facts.revision, null);
  }
});

test('metadata that lacks a field leaves it out', () => {
  assert.deepEqual(fromMetadata({}), {});
});

test('ms is a whole number in range', () => {
  assert.equal(parseMs('0'), 0);
  assert.equal(parseMs(String(MAX_WORK_MS)), MAX_WORK_MS);
  for (const bad of [undefined, '', '-1', '1.5', '1e3', 'abc', ' 1', String(MAX_WORK_MS + 1), ['1', '2']]) {
    assert.equal(parseMs(bad), null, String(bad));
  }
});

test('burning spends at least the CPU time that was asked for', async () => {
  const before = process.cpuUsage();
  const { cpuMs, rounds } = await burn(30);
  const { user, system } = process.cpuUsage(before);
  assert.ok(cpuMs >= 30 && (user + system) / 1000 >= 30);
  assert.ok(rounds > 0);
});

test('burning stops when nobody waits any more', async () => {
  assert.deepEqual(await burn(MAX_WORK_MS, AbortSignal.abort()), { cpuMs: 0, rounds: 0 });
});

test('durations show their two largest units', () => {
  assert.deepEqual(
    [0, 59, 60, 125, 3600, 93784].map(duration),
    ['0 s', '59 s', '1 min', '2 min 5 s', '1 h', '1 d 2 h'],
  );
});

test('zones of one region have different colours', () => {
  assert.notEqual(hue('us-east-1a'), hue('us-east-1b'));
});

test('the page escapes what it shows', () => {
  assert.equal(escape(`<a b='"&'>`), '&lt;a b=&#39;&quot;&amp;&#39;&gt;');
  const html = renderPage({
    task: 't', shortTask: '<script>', taskArn: null, availabilityZone: 'local',
    version: '"><img>', revision: null, uptimeSeconds: 5, requests: 1234,
  });
  assert.ok(!html.includes('<script>') && !html.includes('<img>'));
  assert.ok(html.includes('1,234'));
});
