// Who am I? Inside an ECS task the answer is in the task metadata endpoint, version 4:
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4.html
// Anywhere else (a laptop, a test) there is no endpoint, and the host name stands in.

import { get } from 'node:http';
import { hostname } from 'node:os';

const TIMEOUT_MS = 1_000;
const MAX_BYTES = 1_000_000;

/** What the page and the logs say about this copy of the app. */
export async function describeTask(env, { version, log, fetchJson = getJson }) {
  const facts = {
    task: hostname(),
    taskArn: null,
    availabilityZone: 'local',
    revision: null,
    version,
    node: process.versions.node,
  };
  const endpoint = env.ECS_CONTAINER_METADATA_URI_V4;
  if (!endpoint) return facts;
  try {
    return { ...facts, ...fromMetadata(await fetchJson(`${endpoint}/task`)) };
  } catch (error) {
    // Not worth dying for: the app serves just as well without knowing its name.
    log.warn('task metadata unavailable', { endpoint, error: error.message });
    return facts;
  }
}

/** The fields we use of a `/task` answer; those it lacks are left out. */
export function fromMetadata({ TaskARN, AvailabilityZone, Revision }) {
  const facts = {};
  if (TaskARN) {
    facts.taskArn = TaskARN;
    facts.task = TaskARN.split('/').at(-1);
  }
  if (AvailabilityZone) facts.availabilityZone = AvailabilityZone;
  if (Revision) facts.revision = String(Revision);
  return facts;
}

// `http.get` rather than `fetch`: loading the fetch implementation costs a small task (0.25 vCPU)
// a noticeable part of its start.
function getJson(url) {
  return new Promise((resolve, reject) => {
    const request = get(url, { timeout: TIMEOUT_MS, agent: false }, (response) => {
      if (response.statusCode !== 200) {
        response.resume();
        reject(new Error(`HTTP status ${response.statusCode}`));
        return;
      }
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (chunk) => {
        body += chunk;
        if (body.length > MAX_BYTES) request.destroy(new Error('answer too large'));
      });
      response.on('error', reject);
      response.on('end', () => {
        try {
          resolve(JSON.parse(body));
        } catch (error) {
          reject(error);
        }
      });
    });
    request.on('timeout', () => request.destroy(new Error(`no answer in ${TIMEOUT_MS} ms`)));
    request.on('error', reject);
  });
}
