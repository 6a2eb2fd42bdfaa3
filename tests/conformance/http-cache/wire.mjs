// Sends HTTP requests and answers unchanged, except for fields of the connection: follows no redirect, and decodes nothing.

import { request as httpRequest } from 'node:http'

const LOOPBACK = '127.0.0.1'
/** Longer than `server.wait`, so that the service gives up first. */
const PATIENCE_MS = 20_000

/** Fields that belong to one connection, and those that node writes itself. */
const OF_THE_CONNECTION = new Set(['connection', 'keep-alive', 'transfer-encoding', 'content-length', 'host'])

/**
 * Sends a request, and resolves to the answer; to undefined if the other side closed the connection instead, which some
 * tests check. `headers` is a list of pairs, as in the answer: order, case and repeated fields stay as sent.
 */
export function ask (port, { method = 'GET', path, headers = [], body }) {
  return new Promise((resolve, reject) => {
    // Node sends a list as it is, without adding headers.
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

/** Passes an answer on. If there is none, closes the connection. */
export function send (response, answer) {
  if (!answer) return response.destroy()
  const { status, headers, body } = answer
  response.sendDate = false
  for (const [name, value] of passedOn(headers)) response.appendHeader(name, value)
  response.writeHead(status).end(body)
}

/** Answers each request with `handle`. If `handle` throws, that is a defect of the adapter, which must not look like a result. */
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
