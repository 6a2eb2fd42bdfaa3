// newman with a Postman collection of the documented requests; its variables have the addresses.

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

import { serve } from './protocol.mjs'

const newman = createRequire(`${process.env.CLIENTS_NODE}/`)('newman')
const COLLECTION = JSON.parse(readFileSync(new URL('../data/zoom.postman_collection.json', import.meta.url)))

/** One iteration of the collection for each step. */
function play ({ steps, ...session }) {
  const collection = { ...COLLECTION, item: COLLECTION.item.filter(({ name }) => name !== 'token' || !session.access_token) }
  const variables = {
    baseUrl: session.api,
    tokenUrl: session.token_url,
    accountId: session.account,
    clientId: session.id,
    clientSecret: session.secret,
    accessToken: session.access_token ?? '',
    nextPageToken: ''
  }
  const iterationData = steps.map(step => ({
    request: step.do,
    kind: step.kind,
    meetingId: step.id,
    participantId: step.participant ?? '',
    type: step.type ?? 'live',
    pageSize: step.page_size ?? 1,
    token: step.token ?? '',
    unescaped: step.unescaped ?? ''
  }))
  const outcomes = steps.map(() => ({ pages: [], refused: null, seconds: 0 }))
  const refused = iteration => (outcomes[iteration].refused ??= { answers: [], failed: [] })
  const envVar = Object.entries(variables).map(([key, value]) => ({ key, value }))
  return new Promise((resolve, reject) => {
    newman.run({ collection, envVar, iterationData, reporters: [] }, (error, summary) => {
      if (error) return reject(error)
      for (const { cursor, error } of summary.run.failures) refused(cursor.iteration).failed.push(error.message)
      resolve(outcomes)
    }).on('request', (error, { cursor, item, response }) => {
      if (error) return reject(error)
      const body = response.json()
      const outcome = outcomes[cursor.iteration]
      outcome.seconds += response.responseTime / 1000
      if (response.code !== 200) refused(cursor.iteration).answers.push({ status: response.code, body })
      else if (item.name !== 'token') outcome.pages.push(body)
    })
  })
}

await serve(play)
