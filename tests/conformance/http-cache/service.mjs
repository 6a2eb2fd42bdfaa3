// The service as its own process, one for each set of times that the chosen tests need.

import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

const START_MS = 15_000
const STOP_MS = 5_000
/** For tests whose origin sets no freshness, and which do not depend on it. */
const ANY_FRESHNESS_SECONDS = 30
/** The service's default, for tests whose origin does not mention stale answers on errors. */
const STALE_IF_ERROR = '1h'

/**
 * The times of the test's first answer, as configuration of the service, which ignores these fields by design. Nothing else
 * is set for a test. Without stale-while-revalidate, the service serves nothing stale by itself. With a floor of 0, callers'
 * directives take effect immediately.
 */
export function settingsFor (test, scale) {
  const headers = new Map((test.requests[0].response_headers ?? []).map(([name, value]) => [name.toLowerCase(), value]))
  const directive = name => new RegExp(`(?:^|[ ,])${name}=(\\d+)`).exec(headers.get('cache-control') ?? '')?.[1]
  const scaled = seconds => `${Number(seconds) * 1000 / scale}ms`
  const fresh = directive('max-age') ?? headers.get('expires') ?? ANY_FRESHNESS_SECONDS
  const onError = directive('stale-if-error')
  return {
    live_fresh: scaled(fresh),
    stale_while_revalidate: scaled(directive('stale-while-revalidate') ?? 0),
    stale_if_error: onError ? scaled(onError) : STALE_IF_ERROR,
    refresh_floor: '0s'
  }
}

/** The programs to kill when this process exits. */
const running = new Set()
process.on('exit', () => running.forEach(child => child.kill('SIGKILL')))

/** Starts the service. Resolves to `{ port, stop }` once it listens. */
export async function start (binary, zoomPort, settings) {
  // Do not pass on this process's environment: a QOS_PROXY__ variable in it would change the test.
  const child = spawn(binary, { env: environment(zoomPort, settings), stdio: ['ignore', 'pipe', 'pipe'] })
  running.add(child)
  const gone = new Promise(resolve => child.on('close', resolve)).then(() => running.delete(child))
  return { port: await listening(child), stop: () => stop(child, gone) }
}

function environment (zoomPort, settings) {
  const zoom = `http://127.0.0.1:${zoomPort}`
  const values = {
    SERVER__LISTEN: '127.0.0.1:0',
    SERVER__OPS_LISTEN: '127.0.0.1:0',
    SERVER__DRAIN_DELAY: '0s',
    SERVER__SHUTDOWN_TIMEOUT: '1s',
    SERVER__WORKERS: '1',
    ZOOM__API_BASE_URL: `${zoom}/v2`,
    ZOOM__OAUTH_URL: `${zoom}/oauth/token`,
    ZOOM__ACCOUNT_ID: 'conformance',
    ZOOM__CLIENT_ID: 'conformance',
    ZOOM__CLIENT_SECRET: 'conformance',
    ...Object.fromEntries(Object.entries(settings).map(([key, value]) => [`CACHE__${key.toUpperCase()}`, value]))
  }
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [`QOS_PROXY__${key}`, value]))
}

/** The port in the log line "listening". The log is read to its end, because the service would block on a full pipe. */
function listening (child) {
  return new Promise((resolve, reject) => {
    const said = []
    const failed = why => reject(new Error(`the service ${why}; it said:\n${said.join('\n')}`))
    const timer = setTimeout(() => failed(`did not listen within ${START_MS / 1000} s`), START_MS)
    child.on('error', error => failed(`could not be started: ${error.message}`))
    child.on('close', code => { clearTimeout(timer); failed(`ended with ${code}`) })
    createInterface(child.stderr).on('line', line => said.push(line))
    createInterface(child.stdout).on('line', line => {
      if (said.length < 50) said.push(line)
      if (!line.includes('"listening"')) return
      clearTimeout(timer)
      resolve(Number(JSON.parse(line).listen.split(':').at(-1)))
    })
  })
}

async function stop (child, gone) {
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
  await gone
  clearTimeout(timer)
}
