// The same as protocol.py, for JavaScript.

import { text } from 'node:stream/consumers'

const MOST_PAGES = 100

export function query (step, token) {
  const values = { type: step.type, page_size: step.page_size, next_page_token: token }
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value))
}

/** Returns an access token, for clients that expect one from their user. */
export async function accessToken (session) {
  if (session.access_token) return session.access_token
  const pair = Buffer.from(`${session.id}:${session.secret}`).toString('base64')
  const answer = await fetch(session.token_url, {
    method: 'POST',
    headers: { Authorization: `Basic ${pair}` },
    body: new URLSearchParams({ grant_type: 'account_credentials', account_id: session.account })
  })
  if (!answer.ok) throw new Error(await answer.text())
  return (await answer.json()).access_token
}

async function outcome (client, step) {
  const began = performance.now()
  const pages = []
  let refused = null
  try {
    if (step.do !== 'list') {
      pages.push(await client[step.do](step))
    } else {
      for (let token = step.token, first = true; token || first; first = false) {
        if (pages.length === MOST_PAGES) throw new Error(`more than ${MOST_PAGES} pages`)
        pages.push(await client.page(step, token))
        token = pages.at(-1).next_page_token
      }
    }
  } catch (error) {
    refused = { raised: error.name, text: error.message }
  }
  return { pages, refused, seconds: (performance.now() - began) / 1000 }
}

/** Plays all steps with the client that `clientFor(session)` makes. */
export const oneByOne = clientFor => async session => {
  const client = clientFor(session)
  const outcomes = []
  for (const step of session.steps) outcomes.push(await outcome(client, step))
  return outcomes
}

/** Reads sessions from standard input, and writes the outcomes of their steps, which `play(session)` returns. */
export async function serve (play) {
  const outcomes = []
  for (const session of JSON.parse(await text(process.stdin))) outcomes.push(await play(session))
  process.stdout.write(JSON.stringify(outcomes))
}
