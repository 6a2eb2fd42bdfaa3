// Shows each kind of page in several looks. Runs other projects' checkers, collects the browser's errors, and takes a
// picture.

import { OUT } from './modules.mjs'
import { accessibility, markup, policy } from './verdicts.mjs'
import { misdeeds, tab } from './watched.mjs'

const PHONE = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 }
const LOOKS = {
  light: {},
  dark: { colorScheme: 'dark' },
  phone: PHONE,
  'phone-dark': { ...PHONE, colorScheme: 'dark' },
  contrast: { forcedColors: 'active' }
}
const TALLEST = 6000
/** The looks of those pages that are not shown in every look. */
const FEW = {
  front: ['light', 'dark', 'phone'], guide: ['light', 'phone'], uuid: ['light'], odd: ['light', 'phone-dark'], live: ['light'],
  stale: ['light'], unknown: ['light', 'phone-dark'], wrong: ['light'], refused: ['dark']
}

export async function * looks ({ browser, scene }) {
  for (const [name, url, status] of scene.pages) {
    for (const look of FEW[name] ?? Object.keys(LOOKS)) {
      for await (const finding of one(browser, name, url, status, look)) yield `${name}, ${look}: ${finding}`
    }
  }
  yield * printed(browser, scene)
}

async function * one (browser, name, url, status, look) {
  const page = await tab(browser, LOOKS[look])
  try {
    const answer = await page.goto(url)
    if (answer.status() !== status) yield `it answers ${answer.status()}`
    if (look === 'light') {
      yield * markup(await answer.text())
      yield * policy(answer.headers()['content-security-policy'])
    }
    const details = page.locator('details').first()
    if (await details.count()) {
      await details.locator('summary').click()
      await page.waitForSelector('details[open] .lines canvas')
    }
    yield * accessibility(page)
    yield * sideways(page)
    await picture(page, `${name}-${look}`)
    yield * misdeeds(page, new URL(url).origin, { status })
  } finally {
    await page.close()
  }
}

/** Finds content that is wider than the window. */
async function * sideways (page) {
  const wide = await page.evaluate(() => {
    const { clientWidth, scrollWidth } = document.documentElement
    return scrollWidth > clientWidth && `${scrollWidth} of ${clientWidth} px`
  })
  if (wide) yield `the page is wider than the window: ${wide}`
}

/** Takes a picture of the whole page. The window gets the height of the page, because content far outside of it is not painted. */
export async function picture (page, name) {
  const { width, height } = page.viewportSize()
  const whole = await page.evaluate(() => document.documentElement.scrollHeight)
  await page.setViewportSize({ width, height: Math.min(Math.max(whole, height), TALLEST) })
  await page.screenshot({ path: `${OUT}${name}.png` })
  await page.setViewportSize({ width, height })
}

async function * printed (browser, scene) {
  const page = await tab(browser)
  await page.goto(scene.pages.find(([name]) => name === 'meeting')[1])
  await page.emulateMedia({ media: 'print' })
  await picture(page, 'meeting-print')
  yield * sideways(page)
  await page.close()
}
