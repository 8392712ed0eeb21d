// CPU on demand, for load tests and scaling: burns CPU *time*, not wall time, so a task that is
// limited to 0.25 vCPU takes four times as long for the same work, as real work would.

import { createHash } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';

export const MAX_WORK_MS = 10_000;
// Work is done in slices so that other requests, health checks among them, still get their turn.
const SLICE_MS = 10;

/** The `ms` query parameter as a number, or null if it is not a whole number in range. */
export function parseMs(text) {
  if (typeof text !== 'string' || !/^\d{1,5}$/.test(text)) return null;
  const ms = Number(text);
  return ms <= MAX_WORK_MS ? ms : null;
}

/**
 * Burns `ms` milliseconds of CPU time, or less if `signal` aborts.
 * @returns {Promise<{ cpuMs: number, rounds: number }>} what was really spent
 */
export async function burn(ms, signal) {
  let cpuMs = 0;
  let rounds = 0;
  const block = Buffer.alloc(4096);
  while (cpuMs < ms && !signal?.aborted) {
    const start = process.cpuUsage();
    const slice = Math.min(SLICE_MS, ms - cpuMs);
    let spent = 0;
    while (spent < slice) {
      for (let i = 0; i < 20; i += 1) {
        const digest = createHash('sha256').update(block).digest();
        digest.copy(block, (rounds % 128) * 32);
        rounds += 1;
      }
      const { user, system } = process.cpuUsage(start);
      spent = (user + system) / 1000;
    }
    cpuMs += spent;
    await nextTurn();
  }
  return { cpuMs: Math.round(cpuMs * 10) / 10, rounds };
}
