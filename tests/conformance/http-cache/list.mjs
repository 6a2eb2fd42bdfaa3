// ids.json: the expected result of each id, checked against the suite, so that none is missing and none is invented.

import { readFileSync } from 'node:fs'

const EXPECTATIONS = ['pass', 'fail', 'left out']

export function read () {
  return JSON.parse(readFileSync(new URL('ids.json', import.meta.url), 'utf8'))
}

/** Problems of the list, one sentence each. */
export function problems ({ families, ids }, tests) {
  const listed = new Set(ids.map(({ id }) => id))
  const known = new Set(tests.map(({ id }) => id))
  const ofFamilies = [...known].filter(id => families.some(family => id.startsWith(family)))
  return [
    ...ofFamilies.filter(id => !listed.has(id)).map(id => `${id} is in the suite but not in ids.json: add it`),
    ...ids.flatMap((entry, at) => [
      ids.findIndex(({ id }) => id === entry.id) === at ? '' : 'is listed twice',
      EXPECTATIONS.includes(entry.expect) ? '' : `expect must be one of: ${EXPECTATIONS.join(', ')}`,
      known.has(entry.id) || entry.expect === 'left out' ? '' : 'is not in the suite: "expect" must be "left out"',
      entry.expect === 'pass' || entry.why ? '' : 'does not pass: say why',
      entry.expect !== 'fail' || entry.got ? '' : 'fails: put the suite\'s message into "got"',
      entry.expect !== 'pass' || entry.fails_with?.length ? '' : 'passes: say which stand-ins it "fails_with"'
    ].filter(Boolean).map(problem => `ids.json: ${entry.id}: ${problem}`))
  ]
}
