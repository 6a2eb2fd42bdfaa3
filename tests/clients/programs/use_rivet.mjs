// @zoom/rivet, Zoom's own SDK. Its token address is fixed, so it gets tokens from a store that its user provides; the API's
// address is an option of its endpoints.

import { createRequire } from 'node:module'

import { accessToken, oneByOne, query, serve } from './protocol.mjs'

const { AccountsEndpoints, AccountsS2SAuthClient } = createRequire(`${process.env.CLIENTS_NODE}/`)('@zoom/rivet/accounts')

class TokenStore {
  constructor (session) {
    this.session = session
  }

  async getLatestToken () {
    const expirationTimeIso = new Date(Date.now() + 3_599_000).toISOString()
    this.token ??= { accessToken: await accessToken(this.session), expirationTimeIso, scopes: [] }
    return this.token
  }

  storeToken (token) {
    this.token = token
  }
}

class Client extends AccountsS2SAuthClient {
  initEndpoints (auth, { baseUrl, ...options }) {
    return new AccountsEndpoints({ auth, ...options, baseUrl })
  }
}

class Rivet {
  constructor (session) {
    this.dashboards = new Client({
      clientId: session.id,
      clientSecret: session.secret,
      accountId: session.account,
      tokenStore: new TokenStore(session),
      disableReceiver: true,
      baseUrl: session.api
    }).endpoints.dashboards
  }

  async page (step, token) {
    const { dashboards } = this
    const asked = { path: { meetingId: step.id, webinarId: step.id }, query: query(step, token) }
    const answer = step.kind === 'webinars' ? dashboards.listWebinarParticipantQoS(asked) : dashboards.listMeetingParticipantsQoS(asked)
    return (await answer).data
  }

  async one (step) {
    const { dashboards } = this
    const asked = { path: { meetingId: step.id, webinarId: step.id, participantId: step.participant }, query: query(step) }
    const answer = step.kind === 'webinars' ? dashboards.getWebinarParticipantQoS(asked) : dashboards.getMeetingParticipantQoS(asked)
    return (await answer).data
  }
}

await serve(oneByOne(session => new Rivet(session)))
