// Prints the number and the sum of each meeting's latencies. Uses the types that openapi-typescript generates and no cast,
// so it compiles only if /openapi.json types `latency_ms` in every group.
import createClient from 'openapi-fetch'
import type { components, paths } from './openapi.d.ts'

type Schemas = components['schemas']
declare const process: { argv: string[] }

function groups (sample: Schemas['Sample']): Array<Schemas['Measurements'] | null | undefined> {
  return [
    sample.audio_input, sample.audio_output,
    sample.audio_device_from_crc, sample.audio_device_to_crc, sample.audio_device_from_rwg, sample.audio_device_to_rwg,
    sample.video_input, sample.video_output,
    sample.video_device_from_crc, sample.video_device_to_crc, sample.video_device_from_rwg, sample.video_device_to_rwg,
    sample.as_input, sample.as_output,
    sample.as_device_from_crc, sample.as_device_to_crc, sample.as_device_from_rwg, sample.as_device_to_rwg
  ]
}

function latencies (snapshot: Schemas['Snapshot']): number[] {
  const samples = snapshot.participants.flatMap(participant => participant.user_qos ?? [])
  return samples.flatMap(groups).flatMap(group => group?.latency_ms ?? [])
}

const [baseUrl = '', key = '', ...meetings] = process.argv.slice(2)
// Without this media type, the type of the data would include rows, which are a string.
const client = createClient<paths, 'application/json' | 'application/problem+json'>({ baseUrl, headers: { Authorization: `Bearer ${key}` } })
const sums: Record<string, [number, number]> = {}
for (const meetingId of meetings) {
  const { data, error } = await client.GET('/qos/{meetingId}', { params: { path: { meetingId }, query: { type: 'past' } } })
  if (!data) throw new Error(`${meetingId}: ${error?.code}: ${error?.detail}`)
  const found = latencies(data)
  sums[meetingId] = [found.length, found.reduce((sum, latency) => sum + latency, 0)]
}
console.log(JSON.stringify(sums))
