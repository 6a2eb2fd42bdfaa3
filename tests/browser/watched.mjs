// Starts Chromium, and opens pages whose requests, errors and policy violations are recorded.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { modules } from './modules.mjs'

const { chromium } = modules('playwright-core')

/** Longer than any page takes on a busy machine. */
const PATIENCE_MS = 120_000
// The fonts of this machine, and those that scripts/unpack has unpacked.
const FONTS = ['/usr/share/fonts', fileURLToPath(new URL('../../target/debian/chromium-headless-shell/usr/share/fonts', import.meta.url))]
const FAMILIES = { 'system-ui': 'DejaVu Sans', 'sans-serif': 'DejaVu Sans', monospace: 'DejaVu Sans Mono' }
// Chromium resolves no host except the loopback address, whatever a page asks for.
const NO_OTHER_HOST = '--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1'

export async function launch (executablePath, folder) {
  const configuration = join(folder, 'fonts.conf')
  const directories = FONTS.map(path => `<dir>${path}</dir>`)
  const aliases = Object.entries(FAMILIES).map(([name, family]) => `<alias><family>${name}</family><prefer><family>${family}</family></prefer></alias>`)
  writeFileSync(configuration, ['<?xml version="1.0"?><fontconfig>', ...directories, ...aliases, `<cachedir>${folder}/fonts</cachedir></fontconfig>`].join('\n'))
  // Not every system permits Chromium's sandbox.
  return chromium.launch({
    executablePath,
    chromiumSandbox: false,
    args: [NO_OTHER_HOST, '--disable-gpu', '--force-color-profile=srgb', '--font-render-hinting=none'],
    env: { FONTCONFIG_FILE: configuration, HOME: folder, TMPDIR: folder, PATH: process.env.PATH }
  })
}

/** Opens a tab with these context options, and records in `seen` what the page does. */
export async function tab (browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, locale: 'en-GB', timezoneId: 'UTC', ...options })
  context.setDefaultTimeout(PATIENCE_MS)
  const page = await context.newPage()
  const seen = { requests: [], errors: [], violations: [] }
  context.on('request', request => seen.requests.push(request.url()))
  page.on('console', message => { if (message.type() === 'error') seen.errors.push(message.text()) })
  page.on('pageerror', error => seen.errors.push(String(error)))
  if (options.javaScriptEnabled !== false) {
    await page.exposeBinding('violated', (_, text) => seen.violations.push(text))
    await page.addInitScript(() => document.addEventListener('securitypolicyviolation', event => {
      window.violated(`${event.effectiveDirective} ${event.blockedURI} ${event.sample}`)
    }))
  }
  return Object.assign(page, { seen, close: () => context.close() })
}

/** The forbidden actions of a page: requests to other origins, violations of its policy, errors of its scripts. */
export function * misdeeds ({ seen }, origin, { status = 200 } = {}) {
  for (const url of seen.requests) {
    if (!url.startsWith(`${origin}/`) && !url.startsWith('data:')) yield `it asks for ${url}`
  }
  for (const violation of seen.violations) yield `it violates its policy: ${violation}`
  for (const error of seen.errors) {
    // Chromium reports every page with an error status as an error.
    if (!(status >= 400 && error.includes(`status of ${status}`))) yield `an error: ${error}`
  }
}
