// Between the suite and the service: a reverse proxy for the suite, and Zoom for the service.
//
//   suite's client ──▶ front ──▶ service ──▶ back ──▶ suite's origin
//            /test/<uuid>  /qos/<meeting>  Zoom's call  /test/<uuid>
//
// It translates times, bodies and entity tags, and stores no answer. The service decides whether the origin is called
// and whether the cache answers, and determines each status and each second of age. The origin's body and header fields
// reach the suite through the service's cache, inside a participant.

import { createServer } from 'node:http'
import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { gunzipSync } from 'node:zlib'

import { answering, ask, bodyOf, field, pairs, send, without } from './wire.mjs'

/** The fields about time and outcome are the service's; the suite does not see the origin's own. */
const OF_THE_SERVICE = new Set(['age', 'date', 'cache-status'])
/** The suite gets the origin's value of such a field, but only if the service also sent the field. */
const VALIDATORS = new Set(['etag', 'last-modified'])
/** Added to each wait, so that an age in whole seconds is the intended one. */
const BEYOND_MS = 100

/**
 * `portOf(id)` returns the port of a test's service (or stand-in), `scaleOf(id)` the divisor of its times.
 * `defects` collects this adapter's own errors.
 */
export function adapter ({ originPort, portOf, scaleOf }) {
  const meetings = new Map() // by meeting number
  const defects = []
  const onDefect = error => defects.push(error.stack)
  const front = createServer(answering(async (request, response) => {
    const message = {
      method: request.method, path: request.url, headers: pairs(request.rawHeaders), body: await bodyOf(request)
    }
    const [, uuid] = /^\/test\/([^/?]+)$/.exec(request.url) ?? []
    // The suite's client and origin exchange the test's configuration and the origin's record directly.
    if (!uuid) return send(response, await ask(originPort, message))
    const meeting = meetingOf(uuid, message, meetings)
    send(response, await fromService(meeting, message, portOf(meeting.id), scaleOf(meeting.id)))
  }, onDefect))
  const back = createServer(answering(
    (request, response) => asZoom(request, response, meetings, originPort), onDefect))
  return { front, back, meetings, defects }
}

/** A number from a hash of the uuid, with the twelve digits of the longest meeting numbers. `meetingOf` finds collisions. */
export function meetingNumber (uuid) {
  const digest = createHash('sha256').update(uuid).digest()
  return String(100_000_000_000n + digest.readBigUInt64BE() % 900_000_000_000n)
}

function meetingOf (uuid, message, meetings) {
  const number = meetingNumber(uuid)
  if (!meetings.has(number)) {
    meetings.set(number, { number, uuid, id: field(message.headers, 'test-id'), aged: new Set(), notes: [] })
  }
  const meeting = meetings.get(number)
  if (meeting.uuid !== uuid) throw new Error(`meeting number ${number} stands for ${meeting.uuid} and ${uuid}`)
  // The service forwards nothing of a caller's request to Zoom, and a test's requests are sequential: a call that
  // reaches the back was caused by the last one.
  meeting.requestNumber = field(message.headers, 'req-num')
  return meeting
}

// ---- front: the suite's request to the service, its answer to the suite ----

async function fromService (meeting, message, port, scale) {
  const headers = message.headers.map(([name, value]) => [name, forService(name, value, meeting, scale)])
  const asked = { method: message.method, path: `/qos/${meeting.number}`, headers, body: message.body }
  const once = async () => toSuite(await ask(port, asked), meeting, scale)
  let answer = await once()
  if (answer?.ageOnArrival) {
    // The service ignores an origin's Age. So let the answer age for this time in the service's cache before the suite
    // sees it.
    await sleep(answer.ageOnArrival / scale * 1000 + BEYOND_MS)
    answer = await once()
  }
  const got = answer ? `${answer.status} ${interesting(answer.headers)}` : 'hung up'
  meeting.notes.push(`request ${meeting.requestNumber} ${interesting(headers)} -> ${got}`)
  return answer
}

function forService (name, value, meeting, scale) {
  switch (name.toLowerCase()) {
    case 'if-none-match': return meeting.tags ? value.replaceAll(meeting.tags.origin, meeting.tags.service) : value
    case 'cache-control': return scale === 1 ? value : divided(value, scale)
    default: return value
  }
}

function divided (directives, scale) {
  return directives.replace(/(max-age|min-fresh)=(\d+)/g, (_, name, seconds) => {
    if (seconds % scale) throw new Error(`${name}=${seconds} is no multiple of the scale ${scale}`)
    return `${name}=${seconds / scale}`
  })
}

function toSuite (answer, meeting, scale) {
  if (!answer) return undefined
  const times = answer.headers.filter(([name]) => OF_THE_SERVICE.has(name.toLowerCase()))
    .map(([name, value]) => [name, name.toLowerCase() === 'age' ? String(value * scale) : value])
  // A 304 or a problem contains nothing of the origin: the service's answer is passed on with the tag translated.
  if (answer.status !== 200) {
    const rest = without(answer.headers, OF_THE_SERVICE).map(([name, value]) =>
      name.toLowerCase() === 'etag' && meeting.tags
        ? [name, value.replaceAll(meeting.tags.service, meeting.tags.origin)]
        : [name, value])
    return { ...answer, headers: [...rest, ...times] }
  }
  const kept = keptIn(answer)
  noteTags(meeting, field(kept.headers, 'etag'), field(answer.headers, 'etag'))
  const missing = new Set([...VALIDATORS].filter(name => field(answer.headers, name) === undefined))
  const headers = without(without(kept.headers, OF_THE_SERVICE), missing)
  return { status: 200, headers: [...headers, ...times], body: kept.body, ageOnArrival: ageOnArrival(kept, meeting) }
}

/** The data that the back stored in the participant. */
function keptIn (answer) {
  const json = field(answer.headers, 'content-encoding') === 'gzip' ? gunzipSync(answer.body) : answer.body
  return JSON.parse(JSON.parse(json).participants[0].origin_answer)
}

/**
 * Maps the service's tags to the origin's. Only the text between the quotes is translated: quotes,
 * W/, commas and anything else around it reach the service as the test wrote them.
 */
function noteTags (meeting, ofOrigin, ofService) {
  if (ofOrigin && ofService) meeting.tags = { origin: opaque(ofOrigin), service: opaque(ofService) }
}

function opaque (tag) {
  return /^(?:W[/\\]?)?"(.*)"$/i.exec(tag)?.[1] ?? tag
}

/** The origin's Age of this answer; 0 if there is none, or if the answer has aged already. */
function ageOnArrival (kept, meeting) {
  const count = field(kept.headers, 'server-request-count')
  if (meeting.aged.has(count)) return 0
  meeting.aged.add(count)
  return Number(field(kept.headers, 'age') ?? 0)
}

// ---- back: Zoom, whose data is the suite's origin ----

async function asZoom (request, response, meetings, originPort) {
  await bodyOf(request)
  if (request.method === 'POST' && request.url === '/oauth/token') {
    return json(response, 200, { access_token: 'conformance', token_type: 'bearer', expires_in: 3600, scope: 'dashboard' })
  }
  const [, number] = /^\/v2\/metrics\/meetings\/(\d+)\/participants\/qos\?/.exec(request.url) ?? []
  const meeting = meetings.get(number)
  if (!meeting) return json(response, 404, { code: 3001, message: `Meeting does not exist: ${number}.` })
  const answer = await fromOrigin(meeting, originPort)
  // Pass on an error, or close the connection if the origin did.
  if (answer?.status !== 200) return send(response, answer)
  json(response, 200, page(answer))
}

async function fromOrigin (meeting, originPort) {
  const headers = [['Req-Num', meeting.requestNumber], ['Test-ID', meeting.id]]
  const answer = await ask(originPort, { path: `/test/${meeting.uuid}`, headers })
  meeting.notes.push(`origin asked for request ${meeting.requestNumber} -> ${answer?.status ?? 'hung up'}`)
  return answer
}

/** A complete meeting with one row. The origin's answer is one string, because the service changes known fields and empty strings. */
function page ({ headers, body }) {
  const origin = JSON.stringify({ headers, body: body.toString() })
  const participants = [{ user_id: '1', origin_answer: origin }]
  return { next_page_token: '', page_count: 1, page_size: 10, total_records: 1, participants }
}

function json (response, status, value) {
  response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(value))
}

function interesting (headers) {
  const names = /^(cache-control|if-|age$|etag$|cache-status|server-request-count|content-encoding)/i
  return JSON.stringify(headers.filter(([name]) => names.test(name)).map(pair => pair.join(': ')))
}
