// Structured logs: one JSON object a line on stdout, which the `awslogs` driver turns into one
// event each. Values are never interpolated into the message, so a query can select on them.

/**
 * @param {{ write(line: string): unknown }} out where lines go
 * @param {object} base fields that every line carries
 * @param {() => Date} now the clock
 */
export function createLog(out = process.stdout, base = {}, now = () => new Date()) {
  const emit = (level) => (msg, fields = {}) => {
    out.write(`${JSON.stringify({ time: now().toISOString(), level, msg, ...base, ...fields })}\n`);
  };
  return { info: emit('info'), warn: emit('warn'), error: emit('error') };
}
