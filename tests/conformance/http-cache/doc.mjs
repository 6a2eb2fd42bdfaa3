// The generated part of docs/HTTP-CACHE-TESTS.md.

import { readFileSync, writeFileSync } from 'node:fs'

import { verdict } from './suite.mjs'

const FILE = new URL('../../../docs/HTTP-CACHE-TESTS.md', import.meta.url)
const BEGIN = '<!-- from here: written by run.mjs --write-doc from ids.json and the package -->'
const END = '<!-- to here -->'

/** Whether the document matches the list. */
export function isCurrent (list, suite) {
  const text = readFileSync(FILE, 'utf8')
  return text === withGenerated(text, list, suite)
}

export function write (list, suite) {
  writeFileSync(FILE, withGenerated(readFileSync(FILE, 'utf8'), list, suite))
}

function withGenerated (text, list, suite) {
  const [begin, end] = [text.indexOf(BEGIN), text.indexOf(END)]
  if (begin < 0 || end < begin) throw new Error(`${FILE.pathname} has no lines "${BEGIN}" and "${END}": restore them`)
  return `${text.slice(0, begin + BEGIN.length)}\n\n${generated(list, suite)}\n\n${text.slice(end)}`
}

function generated ({ ids, newer_record: newer }, { recorded, tests }) {
  const ran = ids.filter(({ expect }) => expect !== 'left out')
  const out = ids.filter(({ expect }) => expect === 'left out')
  const [passed, failed] = ['pass', 'fail'].map(kind => ran.filter(({ expect }) => expect === kind))
  const names = Object.keys(recorded)
  const row = (...cells) => `| ${cells.join(' | ')} |`
  const table = (head, rows) => [row(...head), row(...head.map(() => '---')), ...rows].join('\n')
  const others = entry => names.map(name => cell(recorded[name].results[entry.id], entry.newer?.[name]))
  const kinds = new Map(tests.map(({ id, kind }) => [id, kind ?? 'required']))
  const scaled = ran.filter(({ scale }) => scale).map(({ id, scale }) => `\`${id}\` by ${scale}`)
  return [
    '## Results',
    `Of ${ran.length} tests, ${passed.length} pass and ${failed.length} fail. The other ${out.length} tests are not run; the last table says why.`,
    [
      'The suite calls a test *required* if RFC 9111 demands it, *optimal* if a good cache passes it, and *check* if it',
      'only observes what a cache does. The columns of the other products are the results recorded in the package, from',
      `2020 (${names.map(name => `${name} ${recorded[name].version}`).join(', ')}). If the newest results in the`,
      'suite\'s repository, from 2025-12-29, differ, they follow after an arrow',
      `(${names.map(name => `${name} ${newer[name]}`).join(', ')}). *n/a*: the test did not get as far as`,
      'the tested rule, or did not exist yet. *Fails with* lists the stand-ins of the negative control.'
    ].join('\n'),
    table(['id', 'tests', 'kind', 'ours', ...names, 'fails with'], ran.map(entry => row(
      `\`${entry.id}\``, entry.asks, kinds.get(entry.id), `**${entry.expect === 'pass' ? 'yes' : 'no'}**`,
      ...others(entry), entry.fails_with?.join(', ') ?? ''))),
    `The times of these tests are divided: ${scaled.join(', ')}.`,
    '## Ids that fail, and why',
    failed.map(({ id, got, why }) => `- \`${id}\` ("${got}"). ${why}`).join('\n'),
    '## Omitted ids, and why',
    table(['id', 'tests', 'why omitted', ...names], out.map(entry => row(
      `\`${entry.id}\``, entry.asks, entry.why, ...others(entry))))
  ].join('\n\n')
}

function cell (inPackage, newer) {
  const then = inPackage === undefined ? 'n/a' : word(inPackage)
  return newer === undefined || newer === then ? then : `${then} → ${newer}`
}

function word (result) {
  if (result === true) return 'yes'
  return verdict(result).startsWith('Setup') ? 'n/a' : 'no'
}
