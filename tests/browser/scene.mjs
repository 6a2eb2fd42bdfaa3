// The services that the pages come from, their meetings, and the addresses of every kind of page.

import { writeFileSync } from 'node:fs'
import { createHash } from 'node:crypto'

import { Service, Sim } from './stage.mjs'
import { OUT } from './modules.mjs'

export const MEETING = '98100000025'
export const LARGE = '98100001000'
export const UUID = '/ajXp112QmuoKj48548750=='
// The demo's meeting with hostile names and odd values, and the one that is in progress.
export const ODD = '95550001111'
export const LIVE = '91234567890'
const UNKNOWN = '98300000001'
/** Under this limit the participants of MEETING have every quality from good to bad. */
const LIMITS = '&latency_ms=160'
const KEY = 'a-caller-key'

export class Scene {
  static async start (serviceBinary, simBinary) {
    const scene = new Scene()
    scene.sim = await Sim.start(simBinary)
    await scene.sim.meeting(MEETING, 25, 30)
    await scene.sim.meeting(LARGE, 1000, 60)
    scene.service = await Service.start(serviceBinary, scene.sim, { cache__live_fresh: '10m', server__wait: '5m', limits__heavy_per_second: '1000' })
    const expiring = { cache__past_fresh: '1ms', cache__past_by_number_fresh: '1ms', cache__live_fresh: '1ms' }
    scene.stale = await Service.start(serviceBinary, scene.sim, { ...expiring, cache__stale_while_revalidate: '0s', cache__refresh_floor: '0s' })
    for (const service of [scene.service, scene.stale]) await service.json(`/qos/${MEETING}?type=past`)
    // From here on, Zoom fails for the meeting, so the services have only their cached snapshots.
    await scene.sim.order('POST', 'faults', { kind: 'server_error_html', times: 'forever', meeting: MEETING })
    const file = `${OUT}tmp/callers.toml`
    const hash = createHash('sha256').update(KEY).digest('hex')
    writeFileSync(file, `[[caller]]\nname = "browser"\nkey_sha256 = "${hash}"\n`)
    scene.keyed = await Service.start(serviceBinary, scene.sim, { callers__file: file })
    return scene
  }

  credentials = { username: 'browser', password: KEY }

  /** Name, address, and status of each kind of page. */
  get pages () {
    const { service, stale, keyed } = this
    return [
      ['front', `${service.origin}/`, 200],
      ['guide', `${service.origin}/guide`, 200],
      ['meeting', service.page(MEETING, `?type=past${LIMITS}`), 200],
      ['uuid', service.page(UUID, '?type=past'), 200],
      ['odd', service.page(ODD, '?type=past'), 200],
      ['live', service.page(LIVE), 200],
      ['stale', stale.page(MEETING, '?type=past'), 200],
      ['unknown', service.page(UNKNOWN), 404],
      ['wrong', service.page('12'), 400],
      ['refused', keyed.page(MEETING), 401]
    ]
  }

  async stop () {
    await Promise.all([this.service, this.stale, this.keyed, this.sim].map(each => each.stop()))
  }
}
