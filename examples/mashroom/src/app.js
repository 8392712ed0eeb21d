// The routes. Everything the app depends on comes in as an argument, so a test can build one.

import express from 'express';
import { renderPage } from './page.js';
import { burn, MAX_WORK_MS, parseMs } from './work.js';

const SECURITY_HEADERS = {
  'Content-Security-Policy': "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'",
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
  // Each answer tells of one task at one moment; a cached one would tell a lie.
  'Cache-Control': 'no-store',
};

/**
 * @param {{ facts: object, log: object, uptime?: () => number }} parts
 *   `facts` from `describeTask`, `uptime` in seconds
 */
export function createApp({ facts, log, uptime = process.uptime }) {
  let requests = 0;
  const info = () => ({
    ...facts,
    shortTask: facts.task.slice(0, 8),
    uptimeSeconds: Math.round(uptime()),
    requests,
  });

  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.use((req, res, next) => {
    res.set(SECURITY_HEADERS);
    // Health checks say nothing about how much the app is used.
    if (req.path !== '/health') requests += 1;
    logWhenDone(req, res, log);
    next();
  });

  app.get('/health', (req, res) => {
    res.json({ status: 'ok' });
  });
  app.get('/', (req, res) => {
    res.type('html').send(renderPage(info()));
  });
  app.get('/api/info', (req, res) => {
    res.json(info());
  });
  app.get('/work', handleWork);

  app.use((req, res) => {
    res.status(404).json({ error: `nothing at ${req.path}` });
  });
  // Express tells an error handler by its four parameters.
  app.use((error, req, res, next) => {
    if (res.headersSent) {
      next(error);
      return;
    }
    // Below 500 the client is at fault (a malformed escape in the path, say) and may know why.
    const status = error.status >= 400 && error.status < 500 ? error.status : 500;
    if (status === 500) log.error('request failed', { path: req.path, error: error.stack });
    res.status(status).json({ error: status === 500 ? 'internal error' : error.message });
  });
  return app;
}

async function handleWork(req, res) {
  const ms = parseMs(req.query.ms);
  if (ms === null) {
    res.status(400).json({ error: `ms must be a whole number from 0 to ${MAX_WORK_MS}` });
    return;
  }
  const gone = new AbortController();
  res.on('close', () => gone.abort());
  const started = process.hrtime.bigint();
  const spent = await burn(ms, gone.signal);
  if (gone.signal.aborted) return;
  res.json({ requestedMs: ms, ...spent, wallMs: millisecondsSince(started) });
}

function logWhenDone(req, res, log) {
  const started = process.hrtime.bigint();
  const { method, path } = req;
  res.on('close', () => {
    log.info('request', {
      method,
      path,
      status: res.statusCode,
      ms: millisecondsSince(started),
      // False when the client went away before the answer was out.
      complete: res.writableFinished,
      client: req.get('x-forwarded-for') ?? req.socket.remoteAddress,
      trace: req.get('x-amzn-trace-id'),
      userAgent: req.get('user-agent'),
    });
  });
}

function millisecondsSince(start) {
  return Number((process.hrtime.bigint() - start) / 1000n) / 1000;
}
