{{/* The Valkey of valkey.enabled, and where the service finds a Redis at all. */}}

{{/* The Secret with Redis's URL; empty when there is no Redis. */}}
{{- define "zoom-qos-proxy.redisSecret" -}}
{{- if .Values.valkey.enabled -}}
{{- default (include "zoom-qos-proxy.valkeyName" .) .Values.valkey.existingSecret -}}
{{- else -}}
{{- .Values.redis.existingSecret -}}
{{- end -}}
{{- end }}

{{/* 45: the name of a StatefulSet has 52 letters at most; see fullname. */}}
{{- define "zoom-qos-proxy.valkeyName" -}}
{{- printf "%s-valkey" (include "zoom-qos-proxy.fullname" . | trunc 45 | trimSuffix "-") -}}
{{- end }}

{{- define "zoom-qos-proxy.valkeySelector" -}}
app.kubernetes.io/name: {{ include "zoom-qos-proxy.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: valkey
{{- end }}

{{- define "zoom-qos-proxy.valkeyImage" -}}
{{- $image := .Values.valkey.image -}}
{{- with default $image.registry (default dict .Values.global).imageRegistry }}{{ . }}/{{ end -}}
{{- $image.repository -}}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag }}{{ end -}}
{{- end }}

{{/* What is included comes first, because what comes later wins. */}}
{{- define "zoom-qos-proxy.valkeyConf" -}}
# requirepass, of the Secret. Without a password no other pod is answered.
include /run/secrets/valkey/auth.conf
protected-mode yes
bind * -::*
port 6379
# Nothing is written. After a restart the replicas tell what they remember of the day.
save ""
appendonly no
# Only what expires anyway may go early, which is snapshots, those first that nobody asked for. The budget does not expire,
# and an allkeys policy would push it out.
maxmemory {{ include "zoom-qos-proxy.bytes" .Values.valkey.maxMemory }}
maxmemory-policy volatile-lru
{{- end }}

{{/*
MiB: twice maxmemory, and 64. A server that was full of small records and then of large ones, which fit into none of their
gaps, took 48, 156, 277 and 525 MiB for 16, 64, 128 and 256; tests/chart/test_valkey.py does the first.
*/}}
{{- define "zoom-qos-proxy.valkeyMemoryMiB" -}}
{{- $bytes := include "zoom-qos-proxy.bytes" .Values.valkey.maxMemory | int64 -}}
{{- add (div (add (mul $bytes 2) 1048575) 1048576) 64 -}}
{{- end }}
