// Listening and stopping, as a target of an Application Load Balancer should.

import { createServer } from 'node:http';

// The load balancer keeps idle connections to its targets for 60 s (its idle timeout). If the app
// closed first, a request sent at that moment would be lost and the client would get a 502: so the
// app's own timeout must be the longer one.
const KEEP_ALIVE_MS = 65_000;
// ECS sends SIGKILL 30 s (stopTimeout) after SIGTERM: give up before that, and say so.
const STOP_DEADLINE_MS = 25_000;

/** Starts serving `app`; resolves to the server when it accepts connections. */
export function listen(app, port) {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.keepAliveTimeout = KEEP_ALIVE_MS;
    // Node wants this above the keep-alive timeout, else it cuts reused connections.
    server.headersTimeout = KEEP_ALIVE_MS + 1_000;
    let stopping = false;
    server.on('request', (req, res) => {
      if (stopping) res.setHeader('Connection', 'close');
      // A request that was under way when the stop began leaves its connection idle: close it.
      res.on('close', () => stopping && server.closeIdleConnections());
      app(req, res);
    });
    server.stopAccepting = (done) => {
      stopping = true;
      server.close(done);
      server.closeIdleConnections();
    };
    server.once('error', reject);
    server.listen(port, () => {
      server.off('error', reject);
      resolve(server);
    });
  });
}

/**
 * On SIGTERM (ECS) or SIGINT (a terminal): accept nothing new, finish what is under way, exit 0.
 * Exit 1 if requests outlast the deadline.
 */
export function stopOnSignal(server, log, { proc = process, deadlineMs = STOP_DEADLINE_MS } = {}) {
  let stopping = false;
  const stop = (signal) => {
    if (stopping) return;
    stopping = true;
    log.info('stopping', { signal });
    const timer = setTimeout(() => {
      log.error('requests still running at the deadline', { deadlineMs });
      proc.exit(1);
    }, deadlineMs);
    server.stopAccepting(() => {
      clearTimeout(timer);
      log.info('stopped', {});
      proc.exit(0);
    });
  };
  proc.on('SIGTERM', stop);
  proc.on('SIGINT', stop);
}
