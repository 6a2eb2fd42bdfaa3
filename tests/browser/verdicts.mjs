// Checks a page with other projects' checkers. Every function yields findings; no finding means success.

import { readFileSync } from 'node:fs'
import { modules } from './modules.mjs'

const { CspEvaluator } = modules('csp_evaluator/dist/evaluator.js')
const { Severity } = modules('csp_evaluator/dist/finding.js')
const { CspParser } = modules('csp_evaluator/dist/parser.js')
const { HtmlValidate } = modules('html-validate')
const AXE = readFileSync(modules.resolve('axe-core/axe.min.js'), 'utf8')
// Without script, a live meeting's page reloads itself by a meta element when its data is no longer fresh.
const HTML = new HtmlValidate({ extends: ['html-validate:recommended'], rules: { 'meta-refresh': 'off' } })

/** Runs axe-core with its default rules. */
export async function * accessibility (page) {
  await page.evaluate(AXE)
  const { violations } = await page.evaluate(() => window.axe.run({ resultTypes: ['violations'] }))
  for (const { id, help, nodes } of violations) {
    yield `axe, ${id}: ${help}: ${nodes.length} times, first ${nodes[0].html.slice(0, 200)}: ${nodes[0].failureSummary}`
  }
}

export async function * markup (html) {
  const { results } = await HTML.validateString(html)
  const messages = results.flatMap(each => each.messages)
  for (const [rule, those] of Map.groupBy(messages, ({ ruleId }) => ruleId)) {
    yield `html-validate, ${rule}: ${those.length} times, first at ${those[0].line}:${those[0].column}: ${those[0].message}`
  }
}

const DIRECTIVES = { 'default-src': "'none'", 'base-uri': "'none'", 'frame-ancestors': "'none'", 'form-action': "'self'" }

/** Checks the Content-Security-Policy of a page. */
export function * policy (header) {
  if (!header) return yield 'there is no Content-Security-Policy'
  const { csp } = new CspParser(header)
  for (const { severity, directive, value, description } of new CspEvaluator(csp).evaluate()) {
    if (severity <= Severity.MEDIUM_MAYBE) yield `csp_evaluator, ${directive} ${value ?? ''}: ${description}`
  }
  for (const [name, value] of Object.entries(DIRECTIVES)) {
    if (csp.directives[name]?.join(' ') !== value) yield `${name} is ${csp.directives[name]} instead of ${value}`
  }
  for (const [name, values] of Object.entries(csp.directives)) {
    const free = values.filter(value => /unsafe-|^\*|^https?:|^data:/.test(value) && !(name === 'img-src' && value === 'data:'))
    if (free.length) yield `${name} allows ${free}`
  }
}
