// A deliberately wrong page. Every checker must find its fault in it.

import { createServer } from 'node:http'
import { once } from 'node:events'

import { misdeeds, tab } from './watched.mjs'
import { accessibility, markup, policy } from './verdicts.mjs'

const POLICY = "default-src 'none'; img-src *; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
// The page has a picture from another host without alternative text, grey text on grey, a script that the policy forbids,
// and an unclosed element.
const PAGE = `<!doctype html><html><head><title>Wrong</title></head><body><main><h1>Wrong</h1>
<img src="http://192.0.2.1/picture.png"><p style="color:#aaa;background:#bbb">grey</p><script>window.ran = true</script>
<div></main></body></html>`

export async function * controls ({ browser }) {
  const server = createServer((_, answer) => {
    answer.setHeader('Content-Security-Policy', POLICY).setHeader('Content-Type', 'text/html; charset=utf-8').end(PAGE)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const page = await tab(browser)
  try {
    const origin = `http://127.0.0.1:${server.address().port}`
    await page.goto(origin)
    const found = [...misdeeds(page, origin), ...policy(POLICY)]
    for await (const finding of accessibility(page)) found.push(finding)
    for await (const finding of markup(PAGE)) found.push(finding)
    const expected = ['asks for http://192.0.2.1', 'violates its policy: script-src', 'img-src allows \\*', 'axe, image-alt',
      'axe, html-has-lang', 'html-validate, close-order']
    for (const text of expected) {
      if (!found.some(finding => new RegExp(text).test(finding))) yield `control: "${text}" is not found, only:\n  ${found.join('\n  ')}`
    }
    if (await page.evaluate(() => window.ran)) yield 'control: a script runs that the policy forbids'
  } finally {
    await page.close()
    server.close()
  }
}
