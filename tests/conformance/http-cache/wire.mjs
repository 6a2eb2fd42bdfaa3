// One HTTP exchange, with nothing added, nothing followed and nothing decoded.

import { request as httpRequest } from 'node:http'

const LOOPBACK = '127.0.0.1'
/** Longer than the service lets a caller wait (server.wait), so that it is the service that gives up. */
const PATIENCE_MS = 20_000

/** Fields that belong to one connection, and those that node writes itself. */
const OF_THE_CONNECTION = new Set(['connection', 'keep-alive', 'transfer-encoding', 'content-length', 'host'])

/**
 * `headers` is a list of pairs, here as in the answer: order, case and repeated fields stay as they were sent. The
 * answer is undefined where the other side hung up instead: some tests are about just that.
 */
export function ask (port, { method = 'GET', path, headers = [], body }) {
  return new Promise((resolve, reject) => {
    // Given as a list, they are sent as they are: what node would add is missing.
    const ours = [['Host', `${LOOPBACK}:${port}`], ['Connection', 'close']]
    if (body?.length) ours.push(['Content-Length', String(body.length)])
    const given = [...ours, ...passedOn(headers)].flat()
    const sent = httpRequest({ host: LOOPBACK, port, method, path, headers: given, agent: false })
    sent.setTimeout(PATIENCE_MS, () => sent.destroy(new Error(`no answer from port ${port} to ${method} ${path}`)))
    const failed = error => error.code === 'ECONNRESET' ? resolve() : reject(error)
    sent.on('error', failed)
    sent.on('response', answer => {
      bodyOf(answer).then(
        body => resolve({ status: answer.statusCode, headers: pairs(answer.rawHeaders), body }), failed)
    })
    sent.end(body)
  })
}

export async function bodyOf (message) {
  const parts = []
  for await (const part of message) parts.push(part)
  return Buffer.concat(parts)
}

export function pairs (rawHeaders) {
  return Array.from({ length: rawHeaders.length / 2 }, (_, at) => rawHeaders.slice(2 * at, 2 * at + 2))
}

/** The first field of that name. */
export function field (headers, name) {
  return headers.find(([given]) => given.toLowerCase() === name)?.[1]
}

export function without (headers, names) {
  return headers.filter(([name]) => !names.has(name.toLowerCase()))
}

export function passedOn (headers) {
  return without(headers, OF_THE_CONNECTION)
}

/** Passes an answer on; where there was none, hangs up as well. */
export function send (response, answer) {
  if (!answer) return response.destroy()
  const { status, headers, body } = answer
  response.sendDate = false
  for (const [name, value] of passedOn(headers)) response.appendHeader(name, value)
  response.writeHead(status).end(body)
}

/** Answers each request by `handle`; a handler that throws is a defect here, and must not look like an outcome. */
export function answering (handle, onDefect) {
  return (request, response) => handle(request, response).catch(error => {
    onDefect(error)
    response.destroy()
  })
}

export function listen (server) {
  return new Promise((resolve, reject) => {
    server.on('error', reject)
    server.listen(0, LOOPBACK, () => resolve(server.address().port))
  })
}
