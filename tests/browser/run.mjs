#!/usr/bin/env node
// Checks the pages in Debian's Chromium, against the service and the simulator of Zoom; see scripts/browser.
//
//   run.mjs SERVICE_BINARY SIM_BINARY CHROMIUM [CHECK...]
//
// Pictures of every page are kept in target/browser. Exits with 0 without findings, else with 1. Uses only local addresses.

import { mkdirSync } from 'node:fs'

import { controls } from './controls.mjs'
import { heatmap } from './heatmap.mjs'
import { looks } from './looks.mjs'
import { OUT } from './modules.mjs'
import { Scene } from './scene.mjs'
import { keyboard, large, noScript, signedIn } from './walks.mjs'
import { launch } from './watched.mjs'

const CHECKS = { controls, looks, heatmap, noScript, keyboard, signedIn, large }

async function main (serviceBinary, simBinary, chromium, ...chosen) {
  const began = performance.now()
  mkdirSync(`${OUT}tmp`, { recursive: true })
  const [browser, scene] = await Promise.all([launch(chromium, `${OUT}tmp`), Scene.start(serviceBinary, simBinary)])
  let count = 0
  for (const name of chosen.length ? chosen : Object.keys(CHECKS)) {
    const start = performance.now()
    for await (const finding of CHECKS[name]({ browser, scene })) {
      console.log(`FINDING ${name}: ${finding}`)
      count += 1
    }
    console.log(`browser: ${name}: ${((performance.now() - start) / 1000).toFixed(0)} s`)
  }
  await browser.close()
  await scene.stop()
  console.log(`browser: ${count} findings in ${((performance.now() - began) / 1000).toFixed(0)} s`)
  return count ? 1 : 0
}

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(143))
process.exit(await main(...process.argv.slice(2)))
