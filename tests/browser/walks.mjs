// A person's actions: without script, with the keyboard alone, with the form of the front page, and on a very large meeting.

import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { get } from 'node:http'

import { OUT } from './modules.mjs'
import { LARGE, LIVE, MEETING, UUID } from './scene.mjs'
import { picture } from './looks.mjs'
import { misdeeds, tab } from './watched.mjs'

const LIMITS = '&latency_ms=160'
const MOST_BYTES = 2_000_000
const MOST_MS = 1000

/** Without script, the page shows everything except the lines. */
export async function * noScript ({ browser, scene: { service } }) {
  for (const [name, url] of [['past', service.page(MEETING, `?type=past${LIMITS}`)], ['live', service.page(LIVE)], ['front', `${service.origin}/`]]) {
    const texts = []
    for (const javaScriptEnabled of [true, false]) {
      const page = await tab(browser, { javaScriptEnabled })
      await page.goto(url)
      texts.push(await page.evaluate(read))
      if (!javaScriptEnabled) await picture(page, `${name}-no-script`)
      yield * misdeeds(page, service.origin)
      await page.close()
    }
    const [scripted, plain] = texts
    if (plain !== scripted) yield `${name}: the texts differ: ${difference(plain, scripted)}`
    if (name === 'past' && !/had a bad time[^]*Participant 25[^]*audio_input/.test(plain)) yield `${name}: the text is ${plain}`
  }
  yield * switched(browser, service)
}

/** Runs in the page. Returns all text, including that of closed rows, but not of elements that need script or its absence. */
function read () {
  const copy = document.body.cloneNode(true)
  copy.querySelectorAll('script, noscript, .lines, #refresh').forEach(each => each.remove())
  return copy.textContent.replace(/\s+/g, ' ')
}

function difference (one, other) {
  const at = [...one].findIndex((character, index) => character !== other[index])
  return `"${one.slice(at, at + 60)}" and "${other.slice(at, at + 60)}"`
}

/** Without script: a click opens a row, and another medium shows other cells. */
async function * switched (browser, service) {
  const page = await tab(browser, { javaScriptEnabled: false })
  await page.goto(service.page(MEETING, `?type=past${LIMITS}`))
  const row = page.locator('details').first()
  await row.locator('summary').click()
  if (!await row.locator('table').isVisible()) yield 'a click does not open a row'
  for (const medium of ['all', 'audio', 'video', 'screen', 'cpu']) {
    await page.locator(`input[value=${medium}]`).check()
    const shown = await row.locator('.strip:visible').evaluateAll(strips => strips.map(({ classList }) => classList[1]))
    if (shown.join() !== medium) yield `${medium} shows ${shown}`
  }
  await page.close()
}

/** Every control is reached by Tab, in order and visibly, and works. */
export async function * keyboard ({ browser, scene: { service } }) {
  for (const url of [`${service.origin}/`, `${service.origin}/guide`, service.page(MEETING, `?type=past${LIMITS}`)]) {
    const page = await tab(browser)
    await page.goto(url)
    const expected = await page.evaluate(controlsOfPage)
    const walked = []
    for (let steps = 0; steps < expected.length + 5; steps++) {
      await page.keyboard.press('Tab')
      const { at, isVisible } = await page.evaluate(focused)
      if (at < 0 || walked.includes(at)) break
      walked.push(at)
      if (!isVisible) yield `${url}: the focus on ${expected[at]} is not visible`
    }
    const missed = expected.filter((_, at) => !walked.includes(at))
    if (missed.length) yield `${url}: Tab does not reach ${missed}`
    if (walked.some((at, index) => at !== index)) yield `${url}: Tab goes another way: ${walked}`
    if (!/#content/.test(expected[0])) yield `${url}: Tab leads to ${expected[0]} first, and not past the header`
    await page.close()
  }
  yield * typed(browser, service)
}

/** Runs in the page. Returns the elements that Tab must reach: of a group of radio buttons, only the chosen one. */
function controlsOfPage () {
  window.found = [...document.querySelectorAll('a[href], button, input, summary, [tabindex="0"]')].filter(each =>
    each.checkVisibility({ contentVisibilityAuto: false }) && !(each.type === 'radio' && !each.checked))
  return window.found.map(each => each.outerHTML.slice(0, 60))
}

/** Runs in the page. Returns the index of the focused element, and whether it and its outline are visible. */
function focused () {
  const { activeElement } = document
  const { outlineStyle, outlineWidth } = window.getComputedStyle(activeElement)
  const { top, bottom } = activeElement.getBoundingClientRect()
  const isVisible = outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2 && bottom > 0 && top < window.innerHeight
  return { at: window.found.indexOf(activeElement), isVisible }
}

async function * typed (browser, service) {
  const page = await tab(browser)
  await page.goto(`${service.origin}/`)
  await page.getByRole('textbox').focus()
  // Type the number with the separators that Zoom shows in meeting numbers.
  await page.keyboard.type(MEETING.replace(/(\d{3})(\d{4})/, '$1 $2-'))
  await page.keyboard.press('Tab')
  await page.keyboard.press('ArrowDown')
  await page.keyboard.press('Enter')
  await page.waitForURL(url => url.pathname !== '/')
  if (page.url() !== service.page(MEETING, '?type=past')) yield `the form leads to ${page.url()}`
  const summary = page.locator('summary').first()
  await summary.focus()
  await page.keyboard.press('Enter')
  // The script draws the lines when the row is open.
  await page.locator('details[open] canvas').first().waitFor({ timeout: 10_000 }).catch(() => {})
  if (!await page.locator('details[open] canvas').first().isVisible()) yield 'Enter does not open a row, with its lines'
  await page.locator('input[name=medium]:checked').focus()
  await page.keyboard.press('ArrowRight')
  if (await page.locator('input[name=medium]:checked').getAttribute('value') !== 'audio') yield 'an arrow does not choose another medium'
  if (!await page.locator('.strip.audio').first().isVisible()) yield 'the other medium is not shown'
  await page.close()
}

/** With a caller's name and key in the browser's password dialog, the page opens, and its downloads work. */
export async function * signedIn ({ browser, scene: { keyed, credentials, service } }) {
  const page = await tab(browser, { httpCredentials: credentials, acceptDownloads: true })
  await page.goto(keyed.page(UUID, '?type=past'))
  for (const [name, path] of [['CSV', '&format=csv'], ['NDJSON', '&format=ndjson'], ['JSON', '']]) {
    const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name, exact: true }).click()])
    const body = await readFile(await download.path(), 'utf8')
    const expected = await (await fetch(`${service.origin}/qos/${encodeURIComponent(UUID)}?type=past${path}`)).text()
    const undated = text => text.replace(/"fetched_at":"[^"]*"/, '')
    if (undated(body) !== undated(expected)) yield `the download of ${name}, ${download.suggestedFilename()}, is ${body.slice(0, 200)}`
  }
  yield * misdeeds(page, keyed.origin)
  await page.close()
}

/** The page of a one-hour meeting of 1,000 participants is not too large, is painted soon, and stays fast. */
export async function * large ({ browser, scene: { service } }) {
  const url = service.page(LARGE, '?type=past')
  const bytes = await sizeOf(url)
  if (bytes > MOST_BYTES) yield `the page has ${bytes} bytes in gzip`
  const page = await tab(browser)
  const times = []
  for (let turn = 0; turn < 3; turn++) {
    await page.goto(url)
    times.push(await page.evaluate(painted))
  }
  const best = Object.fromEntries(Object.keys(times[0]).map(name => [name, Math.round(Math.min(...times.map(time => time[name])))]))
  console.log(`  ${LARGE}: ${bytes} bytes in gzip; ms: ${JSON.stringify(best)}`)
  // The first paint shows the participants with the worst quality, so the rest of the page may follow later.
  for (const name of ['the first paint', 'another medium']) if (best[name] > MOST_MS) yield `${name} takes ${best[name]} ms`
  await page.screenshot({ path: `${OUT}thousand-light.png` })
  if (await page.locator('details').count() !== 1000) yield 'not all participants are there'
  yield * misdeeds(page, service.origin)
  await page.close()
}

/** How many bytes are sent to a browser that accepts gzip. */
async function sizeOf (url) {
  const [answer] = await once(get(url, { headers: { 'accept-encoding': 'gzip' } }), 'response')
  if (answer.headers['content-encoding'] !== 'gzip') throw new Error(`${url} answers ${answer.statusCode}, not in gzip`)
  let bytes = 0
  for await (const part of answer) bytes += part.length
  return bytes
}

/** Runs in the page. Returns milliseconds: from the response to the first paint and to the end, and from a click to the next frame. */
async function painted () {
  const frame = () => new Promise(resolve => window.requestAnimationFrame(() => setTimeout(resolve)))
  await frame()
  const [{ responseStart, domComplete }] = performance.getEntriesByType('navigation')
  const [paint] = performance.getEntriesByName('first-contentful-paint')
  const before = performance.now()
  document.querySelector('input[value=video]').click()
  await frame()
  return { 'the first paint': paint.startTime - responseStart, 'another medium': performance.now() - before, 'the whole page': domComplete - responseStart }
}
