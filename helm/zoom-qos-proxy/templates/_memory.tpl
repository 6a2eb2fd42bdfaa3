{{/* The container's memory in MiB, from the cache's bound: 1.3 times that plus 48 MiB, as `make memory` measures. */}}

{{- define "zoom-qos-proxy.memoryMiB" -}}
{{- $bytes := include "zoom-qos-proxy.bytes" (default "256MiB" .Values.config.cache.max_bytes) | int64 -}}
{{- add (div (add (mul $bytes 13) 10485759) 10485760) 48 -}}
{{- end }}

{{/* Meetings being fetched, in MiB: their bound, plus 1.25 times the bound for the encodings of a meeting that is completed, plus
twice the largest page: one body may exceed the bound, and one page is cleaned while its body is still in memory. */}}
{{- define "zoom-qos-proxy.fetchMiB" -}}
{{- $bound := include "zoom-qos-proxy.bytes" (default "128MiB" .Values.config.limits.max_fetch_bytes) | int64 -}}
{{- $page := include "zoom-qos-proxy.bytes" (default "64MiB" .Values.config.zoom.max_body) | int64 | min $bound -}}
{{- div (add (div (mul $bound 9) 4) (mul $page 2) 1048575) 1048576 -}}
{{- end }}

{{/* The callers' connections: 40 KiB each, for what is read and written, as tests/api/memory_connections.rs measures. A hundred of
them may have write buffers of 512 KiB: 50 MiB. */}}
{{- define "zoom-qos-proxy.connectionsMiB" -}}
{{- add (div (add (mul (default 2048 .Values.config.server.max_connections | int64) 40) 1023) 1024) 50 -}}
{{- end }}

{{/* Waiting requests: 32 KiB each, for the request, the flight and Zoom's connection. */}}
{{- define "zoom-qos-proxy.waitingMiB" -}}
{{- div (add (mul (default 1000 .Values.config.limits.max_queued | int64) 32) 1023) 1024 -}}
{{- end }}

{{/* The limit leaves room for connections, for meetings being fetched and for waiting requests; docs/OPERATIONS.md has the sum.
There is no CPU limit: throttling would slow every caller, and an idle proxy uses no CPU. */}}
{{- define "zoom-qos-proxy.resources" -}}
{{- $needed := include "zoom-qos-proxy.memoryMiB" . | int64 -}}
{{- $more := add (include "zoom-qos-proxy.fetchMiB" . | int64) (include "zoom-qos-proxy.waitingMiB" . | int64) (include "zoom-qos-proxy.connectionsMiB" . | int64) -}}
{{- $defaults := dict
    "requests" (dict "memory" (printf "%dMi" $needed))
    "limits" (dict "memory" (printf "%dMi" (add $needed $more))) -}}
{{- $resources := deepCopy .Values.resources -}}
{{- /* Kubernetes takes a limit without a request as the request, and a request must not exceed a limit. */ -}}
{{- $limit := dig "limits" "memory" "" $resources -}}
{{- if $limit }}{{ $_ := set $defaults "requests" (dict "memory" $limit) }}{{ end -}}
{{- $request := dig "requests" "memory" "" $resources -}}
{{- if and $request (not $limit) }}
{{- $asked := include "zoom-qos-proxy.bytes" $request | default "0" | int64 -}}
{{- if gt $asked (mul (add $needed $more) 1048576) }}{{ $_ := set $defaults "limits" (dict "memory" $request) }}{{ end -}}
{{- end -}}
{{- toYaml (mergeOverwrite $defaults $resources) -}}
{{- end }}
