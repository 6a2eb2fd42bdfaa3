// The suite from its package: tests, client, origin server, and its recorded results of other caches.
//
// The package is installed outside the source tree, where Node's own module search does not find it: every module
// is imported by its path in the given directory.

import { createRequire } from 'node:module'
import { createServer } from 'node:http'
import { dirname, join } from 'node:path'
import { readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'

const PACKAGE = 'http-cache-tests'
const OTHERS = { nginx: 'nginx.json', Varnish: 'varnish.json', Squid: 'squid.json' }

/** Loads the package from `directory`, in the version of the list of ids. */
export async function load (directory, version) {
  const require = createRequire(join(directory, 'here.cjs'))
  const root = rootOf(require, directory)
  const found = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version
  if (found !== version) {
    throw new Error(`${PACKAGE} in ${directory} is ${found}, and ids.json is about ${version}: run npm ci there again`)
  }
  const part = path => import(pathToFileURL(join(root, path)))
  const [tests, client, config, test, state, results] = await Promise.all([
    part('tests/index.mjs'), part('client/runner.mjs'), part('server/handle-config.mjs'),
    part('server/handle-test.mjs'), part('server/handle-state.mjs'), part('results/index.mjs')
  ])
  return {
    tests: tests.default.flatMap(set => set.tests),
    client,
    fetch: require('node-fetch'), // what the suite's own command line uses
    handlers: { config: config.default, test: test.default, state: state.default },
    recorded: recordedIn(root, results.default)
  }
}

function rootOf (require, directory) {
  try {
    return dirname(require.resolve(`${PACKAGE}/package.json`))
  } catch {
    throw new Error(`${PACKAGE} is not installed in ${directory}: copy package.json and package-lock.json of ` +
      'tests/conformance/http-cache there and run npm ci --ignore-scripts in it')
  }
}

/** The package's results of other caches: `{ name: { version, results } }`. */
function recordedIn (root, index) {
  return Object.fromEntries(Object.entries(OTHERS).map(([name, file]) => {
    const results = JSON.parse(readFileSync(join(root, 'results', file), 'utf8'))
    return [name, { version: index.find(entry => entry.file === file).version, results }]
  }))
}

/**
 * The suite's origin. Its own server.mjs listens on every interface, on a fixed port, and writes a
 * pid file; so this server uses its three handlers without that.
 */
export function origin (handlers) {
  return createServer((request, response) => {
    const [, dispatch, ...rest] = new URL(request.url, 'http://origin').pathname.split('/')
    const handler = Object.hasOwn(handlers, dispatch) ? handlers[dispatch] : undefined
    if (handler) return handler(rest, request, response)
    response.writeHead(404).end()
  })
}

/** Runs all `tests` at the same time against the base URL, because they mostly wait. Resolves to a verdict for each id. */
export async function run (suite, tests, base) {
  const set = { name: 'chosen', id: 'chosen', tests }
  await suite.client.runTests([set], suite.fetch, false, base, tests.length)
  const results = suite.client.getResults()
  return Object.fromEntries(Object.entries(results).map(([id, result]) => [id, verdict(result)]))
}

/** The suite's result is `true`, or `[kind, message]`. */
export function verdict (result) {
  return result === true ? 'pass' : `${result[0]}: ${result[1]}`
}
