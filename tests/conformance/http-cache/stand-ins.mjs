// Stand-ins for the service, for the negative control: caches that are wrong in a known way. With the
// unchanged adapter, each id that the service passes must fail with at least one of them.

import { createServer } from 'node:http'

import { answering, ask, bodyOf, listen } from './wire.mjs'

/** `keeps`: repeats the first 200 forever. `ages`: sends the answer's `Age`. */
export const STAND_INS = {
  relay: { keeps: false, ages: false },
  hoarder: { keeps: true, ages: true },
  timeless: { keeps: true, ages: false }
}

/** Starts a stand-in in front of the same Zoom. It ignores validators, and so never sends 304. */
export async function standIn ({ keeps, ages }, zoomPort, onDefect) {
  const kept = new Map()
  const server = createServer(answering(async (request, response) => {
    await bodyOf(request)
    const answer = kept.get(request.url) ?? await fromZoom(request.url, zoomPort)
    if (!answer) return response.destroy()
    if (keeps && answer.status === 200) kept.set(request.url, answer)
    response.setHeader('ETag', '"always-the-same"')
    response.setHeader('Last-Modified', new Date(answer.since).toUTCString())
    if (ages) response.setHeader('Age', Math.floor((Date.now() - answer.since) / 1000))
    response.writeHead(answer.status).end(answer.body)
  }, onDefect))
  const port = await listen(server)
  return { port, stop: () => new Promise(resolve => { server.close(resolve); server.closeAllConnections() }) }
}

async function fromZoom (path, zoomPort) {
  const number = path.split('/').at(-1)
  const answer = await ask(zoomPort, { path: `/v2/metrics/meetings/${number}/participants/qos?type=live&page_size=10` })
  return answer && { ...answer, since: Date.now() }
}
