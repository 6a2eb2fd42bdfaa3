{{/* The memory of a process with a full cache, in MiB: 1.3 times the cache's bound plus 48 MiB, as `make memory` measures. */}}

{{- define "zoom-qos-proxy.memoryMiB" -}}
{{- $bytes := include "zoom-qos-proxy.bytes" (default "256MiB" .Values.config.cache.max_bytes) | int64 -}}
{{- add (div (add (mul $bytes 13) 10485759) 10485760) 48 -}}
{{- end }}

{{/* Memory for meetings being fetched, in MiB: max_fetch_bytes, plus 1.25 times that for the encodings of a meeting that is being
finished, plus twice the largest page: one body may exceed the bound, and one page is cleaned while its body is in memory. */}}
{{- define "zoom-qos-proxy.fetchMiB" -}}
{{- $bound := include "zoom-qos-proxy.bytes" (default "128MiB" .Values.config.limits.max_fetch_bytes) | int64 -}}
{{- $page := include "zoom-qos-proxy.bytes" (default "64MiB" .Values.config.zoom.max_body) | int64 | min $bound -}}
{{- div (add (div (mul $bound 9) 4) (mul $page 2) 1048575) 1048576 -}}
{{- end }}

{{/* Memory for callers' connections, in MiB: 40 KiB each for read and write buffers, as tests/api/memory_connections.rs measures.
A hundred of the connections may have write buffers of 512 KiB, which take 50 MiB more. */}}
{{- define "zoom-qos-proxy.connectionsMiB" -}}
{{- add (div (add (mul (default 2048 .Values.config.server.max_connections | int64) 40) 1023) 1024) 50 -}}
{{- end }}

{{/* Memory for waiting requests, in MiB: 32 KiB each, for the request, its flight and a connection to Zoom. */}}
{{- define "zoom-qos-proxy.waitingMiB" -}}
{{- div (add (mul (default 1000 .Values.config.limits.max_queued | int64) 32) 1023) 1024 -}}
{{- end }}

{{/* The container's resources. The memory request is that of a full cache. The memory limit also includes connections, meetings being
fetched and waiting requests; docs/OPERATIONS.md has the formula. By default there is no CPU limit, because throttling would slow
every caller, and an idle proxy uses no CPU. */}}
{{- define "zoom-qos-proxy.resources" -}}
{{- $needed := include "zoom-qos-proxy.memoryMiB" . | int64 -}}
{{- $more := add (include "zoom-qos-proxy.fetchMiB" . | int64) (include "zoom-qos-proxy.waitingMiB" . | int64) (include "zoom-qos-proxy.connectionsMiB" . | int64) -}}
{{- $defaults := dict
    "requests" (dict "memory" (printf "%dMi" $needed))
    "limits" (dict "memory" (printf "%dMi" (add $needed $more))) -}}
{{- $resources := deepCopy .Values.resources -}}
{{- /* If there is only a limit, Kubernetes uses it as the request. Kubernetes rejects a request that exceeds the limit. */ -}}
{{- $limit := dig "limits" "memory" "" $resources -}}
{{- if $limit }}{{ $_ := set $defaults "requests" (dict "memory" $limit) }}{{ end -}}
{{- $request := dig "requests" "memory" "" $resources -}}
{{- if and $request (not $limit) }}
{{- $asked := include "zoom-qos-proxy.bytes" $request | default "0" | int64 -}}
{{- if gt $asked (mul (add $needed $more) 1048576) }}{{ $_ := set $defaults "limits" (dict "memory" $request) }}{{ end -}}
{{- end -}}
{{- toYaml (mergeOverwrite $defaults $resources) -}}
{{- end }}
