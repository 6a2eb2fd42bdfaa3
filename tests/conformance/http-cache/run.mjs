#!/usr/bin/env node
// Runs the chosen ids of http-cache-tests against the service, or, with --control, against stand-ins that are deliberately
// wrong. See docs/HTTP-CACHE-TESTS.md.

import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

import { adapter } from './adapter.mjs'
import * as doc from './doc.mjs'
import * as list from './list.mjs'
import { settingsFor, start } from './service.mjs'
import { STAND_INS, standIn } from './stand-ins.mjs'
import * as suite from './suite.mjs'
import { listen } from './wire.mjs'

const USAGE = `usage: run.mjs SERVICE_BINARY [--control] [--write-doc] [--verbose] [--modules DIRECTORY]
  --control    runs stand-ins instead of the service: ids that the service passes must fail with the stand-ins that ids.json names
  --write-doc  rewrites the tables of docs/HTTP-CACHE-TESTS.md, and runs nothing
  --verbose    shows every exchange with the service and with the suite's origin, even if all results are as expected
  --modules    directory in which http-cache-tests is installed; default: target/conformance/http-cache of the repository`
const MODULES = fileURLToPath(new URL('../../../target/conformance/http-cache', import.meta.url))
const TIME_LIMIT_MS = 85_000

async function main () {
  const { values: options, positionals: [binary] } = parseArgs({
    allowPositionals: true,
    options: {
      control: { type: 'boolean' },
      'write-doc': { type: 'boolean' },
      verbose: { type: 'boolean' },
      modules: { type: 'string', default: MODULES }
    }
  })
  const ids = list.read()
  const loaded = await suite.load(options.modules, ids.version)
  const wrong = list.problems(ids, loaded.tests)
  if (wrong.length) return wrong
  if (options['write-doc']) return doc.write(ids, loaded) ?? []
  if (!binary && !options.control) return [USAGE]
  setTimeout(() => fail([`not finished within ${TIME_LIMIT_MS / 1000} s`]), TIME_LIMIT_MS).unref()
  if (options.control) return control(ids, loaded)
  const surprises = await compare(ids, loaded, binary, options.verbose)
  return doc.isCurrent(ids, loaded)
    ? surprises
    : [...surprises, 'docs/HTTP-CACHE-TESTS.md differs from ids.json: run run.mjs --write-doc']
}

// ---- against the service ----

async function compare ({ ids }, loaded, binary, verbose) {
  const chosen = ids.filter(({ expect }) => expect !== 'left out')
  const runs = chosen.map(entry => ({ ...entry, runAs: entry.id, test: testOf(loaded, entry.id) }))
  const { results, notes } = await through(loaded, runs, back => services(runs, binary, back))
  return runs.flatMap(entry => {
    const expected = entry.expect === 'pass' ? 'pass' : entry.got
    const got = results[entry.id]
    const isAsExpected = got === expected
    console.log(`${isAsExpected ? 'ok ' : 'NOT'}  ${entry.id}  expected: ${expected}  got: ${got}`)
    if (verbose || !isAsExpected) notes(entry.id).forEach(note => console.log(`       ${note}`))
    if (isAsExpected) return []
    const what = got === 'pass'
      ? 'passes now: set it to "pass" in ids.json, with the stand-ins it "fails_with", and run --write-doc'
      : `expected "${expected}", got "${got}"`
    return [`${entry.id}: ${what}`]
  })
}

/** Starts one process for each set of times that the tests need. */
async function services (runs, binary, back) {
  const bySettings = new Map()
  for (const { runAs, test, scale = 1 } of runs) {
    const settings = settingsFor(test, scale)
    const key = JSON.stringify(settings)
    if (!bySettings.has(key)) bySettings.set(key, { settings, ids: [] })
    bySettings.get(key).ids.push(runAs)
  }
  return together([...bySettings.values()].map(
    async ({ settings, ids }) => ({ ...await start(binary, back, settings), ids })))
}

// ---- against the stand-ins ----

async function control ({ ids }, loaded) {
  const names = Object.keys(STAND_INS)
  const passing = ids.filter(({ expect }) => expect === 'pass')
  // The suite identifies a test by its id, so each stand-in gets a copy with its own id, and all run at the same time.
  const as = (id, name) => `${id} with ${name}`
  const runs = passing.flatMap(entry => names.map(name => {
    const runAs = as(entry.id, name)
    return { ...entry, name, runAs, test: { ...structuredClone(testOf(loaded, entry.id)), id: runAs } }
  }))
  const { results } = await through(loaded, runs, (back, onDefect) => together(names.map(async name => {
    const ids = runs.filter(run => run.name === name).map(({ runAs }) => runAs)
    return { ...await standIn(STAND_INS[name], back, onDefect), ids }
  })))
  return passing.flatMap(({ id, fails_with: expected }) => {
    const failing = names.filter(name => results[as(id, name)] !== 'pass')
    const isAsExpected = failing.join() === names.filter(name => expected.includes(name)).join()
    console.log(`${isAsExpected ? 'ok ' : 'NOT'}  ${id}  expected to fail with: ${expected.join(', ')}`)
    for (const name of names) console.log(`       ${name}: ${results[as(id, name)]}`)
    const what = `fails with: ${failing.join(', ') || 'none'}; ids.json says: ${expected.join(', ')}`
    return isAsExpected ? [] : [`${id} ${what}`]
  })
}

// ---- both ----

function testOf ({ tests }, id) {
  return tests.find(test => test.id === id)
}

/** Starts the origin, the adapter and the targets of `startTargets`, runs the tests, and stops everything. */
async function through (loaded, runs, startTargets) {
  const origin = suite.origin(loaded.handlers)
  const portsById = new Map()
  const scales = new Map(runs.map(({ runAs, scale = 1 }) => [runAs, scale]))
  const between = adapter({
    originPort: await listen(origin), portOf: id => portsById.get(id), scaleOf: id => scales.get(id)
  })
  const [front, back] = [await listen(between.front), await listen(between.back)]
  const targets = await startTargets(back, error => between.defects.push(error.stack))
  for (const { port, ids } of targets) ids.forEach(id => portsById.set(id, port))
  const results = await suite.run(loaded, runs.map(({ test }) => test), `http://127.0.0.1:${front}`)
  await Promise.all(targets.map(({ stop }) => stop()))
  for (const server of [between.front, between.back, origin]) { server.close(); server.closeAllConnections() }
  const defects = between.defects.join('\n')
  if (defects) throw new Error(`the adapter failed, not the service:\n${defects}`)
  const notes = id => [...between.meetings.values()].find(meeting => meeting.id === id)?.notes ?? []
  return { results, notes }
}

/** Waits for all targets; if one fails to start, stops the others. */
async function together (starting) {
  const settled = await Promise.allSettled(starting)
  const refused = settled.find(({ status }) => status === 'rejected')
  if (!refused) return settled.map(({ value }) => value)
  await Promise.all(settled.map(({ value }) => value?.stop()))
  throw refused.reason
}

function fail (problems) {
  for (const problem of problems) console.error(problem)
  process.exit(1)
}

// On a signal, the processes that this script started must end as well.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => fail([`stopped by ${signal}`]))
try {
  const problems = await main()
  if (problems.length) fail(problems)
} catch (error) {
  fail([error.message])
}
