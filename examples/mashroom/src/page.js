// The page a person sees. One self-contained document: no script, no font, no image from elsewhere.

const ESCAPES = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

export function escape(value) {
  return String(value).replace(/[&<>"']/g, (c) => ESCAPES[c]);
}

/** `93784` -> `1 d 2 h`, `125` -> `2 min 5 s`: the two largest units that matter. */
export function duration(seconds) {
  const parts = [
    [Math.floor(seconds / 86400), 'd'],
    [Math.floor(seconds / 3600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'min'],
    [Math.floor(seconds) % 60, 's'],
  ];
  const first = parts.findIndex(([n]) => n > 0);
  if (first === -1) return '0 s';
  return parts
    .slice(first, first + 2)
    .filter(([n]) => n > 0)
    .map(([n, unit]) => `${n} ${unit}`)
    .join(' ');
}

/** A colour that stays with its zone, so that a change of zone is seen before it is read. */
export function hue(zone) {
  let sum = 0;
  for (const c of zone) sum = (sum * 31 + c.codePointAt(0)) % 360;
  return (sum * 137) % 360;
}

const STYLE = `
:root { color-scheme: light dark; --accent: hsl(var(--hue) 62% 42%); }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1.5rem;
  font: 17px/1.5 system-ui, sans-serif; color: #23201d; background: #f6f2ec; }
main { width: min(34rem, 100%); background: #fff; border-radius: 16px; overflow: hidden;
  box-shadow: 0 1px 2px #0001, 0 12px 40px #0002; border-top: 6px solid var(--accent); }
header { display: flex; gap: 1rem; align-items: center; padding: 1.5rem 1.75rem .5rem; }
svg { width: 3.25rem; flex: none; fill: var(--accent); }
h1 { margin: 0; font-size: 1.6rem; line-height: 1.2; }
header p { margin: .1rem 0 0; opacity: .7; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .6rem 1.5rem; margin: 0; padding: 1rem 1.75rem; }
dt { opacity: .65; }
dd { margin: 0; font-weight: 600; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
dd code { font: inherit; font-family: ui-monospace, monospace; }
footer { padding: .9rem 1.75rem 1.3rem; font-size: .9rem; }
a { color: var(--accent); margin-right: 1rem; }
@media (prefers-color-scheme: dark) {
  :root { --accent: hsl(var(--hue) 62% 62%); }
  body { background: #171513; color: #eee8e0; } main { background: #221f1c; }
}`;

const MUSHROOM = `<svg viewBox="0 0 48 48" aria-hidden="true"><path d="M24 5C12 5 4 14 4 23c0 3 3 4 6 4h28c3 0 6-1 6-4C44 14 36 5 24 5Z"/>
<path opacity=".45" d="M18 29h12l2 11c0 2-3 4-8 4s-8-2-8-4Z"/><g fill="#fff" opacity=".8"><circle cx="16" cy="17" r="3.2"/><circle cx="28" cy="13" r="2.6"/><circle cx="34" cy="20" r="2.8"/></g></svg>`;

/** @param {object} info what `/api/info` answers */
export function renderPage(info) {
  const rows = [
    ['Task', `<code title="${escape(info.taskArn ?? info.task)}">${escape(info.shortTask)}</code>`],
    ['Availability zone', escape(info.availabilityZone)],
    ['Version', escape(info.revision ? `${info.version} (revision ${info.revision})` : info.version)],
    ['Up for', escape(duration(info.uptimeSeconds))],
    ['Requests so far', escape(info.requests.toLocaleString('en'))],
  ];
  return `<!doctype html>
<html lang="en" style="--hue: ${hue(info.availabilityZone)}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Mashroom · ${escape(info.shortTask)}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<header>${MUSHROOM}<div><h1>Mashroom</h1><p>This copy of the app served you.</p></div></header>
<dl>${rows.map(([name, value]) => `<dt>${name}</dt><dd>${value}</dd>`).join('\n')}</dl>
<footer><a href="/">Ask again</a><a href="/work?ms=200">Burn 200 ms of CPU</a><a href="/api/info">As JSON</a></footer>
</main>
</body>
</html>
`;
}
