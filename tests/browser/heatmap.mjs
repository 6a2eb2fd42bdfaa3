// Compares each drawn cell of the heatmap with that minute in `/qos/{id}` and `/qos/{id}/summary`.

import { MEETING, ODD, UUID } from './scene.mjs'
import { tab } from './watched.mjs'

const MEDIA = { audio: ['audio_input', 'audio_output'], video: ['video_input', 'video_output'], screen: ['as_input', 'as_output'], cpu: ['cpu_usage'] }
MEDIA.all = [...MEDIA.audio, ...MEDIA.video, ...MEDIA.screen]
const LIMITED = { latency_ms: 'latency_ms', jitter_ms: 'jitter_ms', avg_loss_percent: 'loss_percent' }
const LEVELS = ['ok', 'over', 'far']
const FAR = 2
const QUALITIES = ['bad', 'poor', 'fair', 'good', 'unknown']
/** The configured limits, and others under which each quality occurs. */
const QUERIES = ['', '&latency_ms=120&jitter_ms=22&loss_percent=0.25&cpu_percent=40.5', '&latency_ms=176&jitter_ms=5&loss_percent=50&cpu_percent=20']

export async function * heatmap ({ browser, scene: { service } }) {
  const page = await tab(browser, { javaScriptEnabled: false })
  let cells = 0
  for (const [meeting, limits] of [...QUERIES.map(query => [MEETING, query]), [ODD, QUERIES[1]], [UUID, '']]) {
    const query = `?type=past${limits}`
    const path = `/qos/${encodeURIComponent(meeting)}`
    const [{ participants }, summary] = await Promise.all([service.json(`${path}?type=past`), service.json(`${path}/summary${query}`)])
    await page.goto(service.page(meeting, query))
    const drawn = await page.evaluate(read)
    for (const finding of differences(drawn, participants, summary)) yield `${meeting}${limits}: ${finding}`
    cells += drawn.rows.flatMap(({ strips }) => Object.values(strips)).reduce((sum, strip) => sum + Object.keys(strip).length, 0)
    yield * controls(drawn, participants, summary)
  }
  if (cells < 5_000) yield `only ${cells} cells are drawn`
  await page.close()
}

/** Runs in the page. Returns each participant's number, quality and drawn cells, with the level of each cell. */
function read () {
  const root = document.getElementById('participants')
  const rows = [...root.querySelectorAll('details')].map(details => ({
    number: Number(details.id.slice(1)),
    quality: details.querySelector('.badge').textContent,
    strips: Object.fromEntries([...details.querySelectorAll('.strip')].map(strip => {
      const bars = ['ok', 'over', 'far'].flatMap(level => [...strip.querySelectorAll(`path.${level}`)].flatMap(path =>
        [...path.getAttribute('d').matchAll(/M(\d+) \d+H(\d+)/g)].map(([, begin, end]) => [level, Number(begin), Number(end)])))
      const cells = bars.flatMap(([level, begin, end]) => Array.from({ length: end - begin }, (_, at) => [begin + at, level]))
      return [strip.classList[1], Object.fromEntries(cells)]
    })),
    groups: Object.fromEntries([...details.querySelectorAll('tbody tr')].map(({ cells: [name, ...numbers] }) =>
      [name.textContent, numbers.slice(0, 2).map(({ textContent }) => Number(textContent))]))
  }))
  return { begin: Number(root.dataset.begin), step: Number(root.dataset.step), rows }
}

function * differences ({ begin, step, rows }, participants, summary) {
  if (rows.length !== participants.length) yield `${rows.length} rows instead of ${participants.length}`
  const ranks = rows.map(({ quality }) => QUALITIES.indexOf(quality))
  if (ranks.some((rank, at) => rank < ranks[at - 1])) yield 'the worst are not first'
  for (const { number, quality, strips, groups } of rows) {
    const who = `participant ${number}`
    const of = summary.participants[number]
    if (quality !== of.quality) yield `${who} is ${quality} instead of ${of.quality}`
    const measured = levels(participants[number], summary.limits)
    for (const [group, { samples, minutes_over: over }] of Object.entries(of.groups)) {
      const found = measured.filter(each => each.group === group)
      const ours = [found.length, found.filter(({ level }) => level > 0).length]
      if (ours.join() !== [samples, over].join()) yield `${who}, ${group}: ${ours} minutes measured and over, and the summary says ${samples},${over}`
      if (groups[group] && groups[group].join() !== ours.join()) yield `${who}, ${group}: the table says ${groups[group]} instead of ${ours}`
    }
    for (const [medium, names] of Object.entries(MEDIA)) {
      const expected = {}
      for (const { group, time, level } of measured) {
        const column = Math.floor((time / 1000 - begin) / step)
        if (names.includes(group) && !Number.isNaN(time)) expected[column] = Math.max(expected[column] ?? 0, level)
      }
      const text = cells => JSON.stringify(cells, (_, value) => typeof value === 'number' ? LEVELS[value] : value)
      if (text(expected) !== text(strips[medium] ?? {})) yield `${who}, ${medium}: ${text(strips[medium])} instead of ${text(expected)}`
    }
  }
}

/** The level of each group of each sample that contains a number: within its limits (0), over (1), or far over (2). */
function levels ({ user_qos: samples }, limits) {
  return (samples ?? []).flatMap(sample => Object.entries(sample).flatMap(([group, values]) => {
    const numbers = Object.entries(values ?? {}).filter(([, value]) => Number.isFinite(value))
    if (typeof values !== 'object' || !numbers.length) return []
    const bounds = group === 'cpu_usage' ? { system_max_cpu_usage_percent: 'cpu_percent' } : LIMITED
    const over = numbers.map(([name, value]) => !(name in bounds) || value <= limits[bounds[name]] ? 0 : value < FAR * limits[bounds[name]] ? 1 : 2)
    return [{ group, time: Date.parse(sample.date_time), level: Math.max(...over) }]
  }))
}

/** Yields a finding for each deliberate mistake that is not found. */
function * controls (drawn, participants, summary) {
  const moved = structuredClone(drawn)
  const strip = moved.rows[0].strips.cpu
  const [first] = Object.keys(strip)
  strip[first] = strip[first] === 'ok' ? 'over' : 'ok'
  if (differences(moved, participants, summary).next().done) yield 'control: another cell is not found'
  const late = { ...drawn, begin: drawn.begin + drawn.step }
  if (differences(late, participants, summary).next().done) yield 'control: cells a minute late are not found'
}
