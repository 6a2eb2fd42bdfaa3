// The service and the simulator of Zoom as their own processes, on free ports.

import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

const START_MS = 15_000
/** The programs to kill when this process exits. */
const running = new Set()
process.on('exit', () => running.forEach(child => child.kill('SIGKILL')))

/** Starts a program. Resolves to what `find` finds in one of the program's lines, and a function that stops the program. */
function start (command, environment, find) {
  const child = spawn(command[0], command.slice(1), { env: environment, stdio: ['ignore', 'pipe', 'inherit'] })
  running.add(child)
  const gone = new Promise(resolve => child.on('close', resolve)).then(() => running.delete(child))
  const stop = () => { child.kill('SIGKILL'); return gone }
  return new Promise((resolve, reject) => {
    const failed = why => reject(new Error(`${command[0]} ${why}`))
    const timer = setTimeout(() => failed(`is not ready within ${START_MS / 1000} s`), START_MS)
    child.on('error', error => failed(error.message))
    child.on('close', code => { clearTimeout(timer); failed(`ended with ${code}`) })
    createInterface(child.stdout).on('line', line => {
      const found = find(line)
      if (!found) return
      clearTimeout(timer)
      resolve({ found, stop })
    })
  })
}

export class Sim {
  static async start (binary, ...options) {
    const command = [binary, '--listen', '127.0.0.1:0', '--latency-ms', '0', '--per-second', '10000', ...options]
    const { found, stop } = await start(command, {}, line => /listens on (\S+)/.exec(line)?.[1])
    return Object.assign(new Sim(), { url: found.replace(/\/$/, ''), stop })
  }

  async order (method, what, body) {
    const answer = await fetch(`${this.url}/_sim/${what}`, { method, body: JSON.stringify(body) })
    if (!answer.ok) throw new Error(`the simulator refuses ${what}: ${await answer.text()}`)
    return answer.json()
  }

  meeting (id, participants, samples) {
    return this.order('POST', 'meetings', { id, participants, samples })
  }

  async calls () {
    return (await this.order('GET', 'calls')).filter(({ kind }) => kind === 'qos').length
  }
}

export class Service {
  /** Starts the service. The keys of `settings` are written like `cache__live_fresh`. */
  static async start (binary, sim, settings = {}) {
    const values = {
      server__listen: '127.0.0.1:0',
      server__ops_listen: '127.0.0.1:0',
      server__drain_delay: '0s',
      zoom__api_base_url: `${sim.url}/v2`,
      zoom__oauth_url: `${sim.url}/oauth/token`,
      zoom__account_id: 'sim-account',
      zoom__client_id: 'sim-client',
      zoom__client_secret: 'sim-secret',
      ...settings
    }
    // Do not pass on this process's environment: a QOS_PROXY__ variable in it would change the test.
    const pairs = Object.entries(values).map(([key, value]) => [`QOS_PROXY__${key.toUpperCase()}`, value])
    const { found, stop } = await start([binary], Object.fromEntries(pairs), line => {
      const entry = line.startsWith('{') && JSON.parse(line)
      return entry.ops_listen && entry.listen
    })
    return Object.assign(new Service(), { origin: `http://${found}`, stop })
  }

  page (id, query = '') {
    return `${this.origin}/meetings/${encodeURIComponent(id)}${query}`
  }

  /** The JSON at a path. */
  async json (path, options) {
    const answer = await fetch(this.origin + path, options)
    if (!answer.ok) throw new Error(`${path} answers ${answer.status}: ${await answer.text()}`)
    return answer.json()
  }
}
