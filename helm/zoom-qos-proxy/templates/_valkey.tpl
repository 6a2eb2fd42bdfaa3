{{/* The Valkey of valkey.enabled, and the Secret with Redis's URL. */}}

{{/* The name of the Secret with Redis's URL; empty without Redis. */}}
{{- define "zoom-qos-proxy.redisSecret" -}}
{{- if .Values.valkey.enabled -}}
{{- default (include "zoom-qos-proxy.valkeyName" .) .Values.valkey.existingSecret -}}
{{- else -}}
{{- .Values.redis.existingSecret -}}
{{- end -}}
{{- end }}

{{/* 45 characters and `-valkey` are 52, the most for a StatefulSet's name: see fullname. */}}
{{- define "zoom-qos-proxy.valkeyName" -}}
{{- printf "%s-valkey" (include "zoom-qos-proxy.fullname" . | trunc 45 | trimSuffix "-") -}}
{{- end }}

{{- define "zoom-qos-proxy.valkeyConfigName" -}}
{{- include "zoom-qos-proxy.nameByContent" (dict "base" (include "zoom-qos-proxy.valkeyName" .) "content" (include "zoom-qos-proxy.valkeyConf" .)) -}}
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

{{/* Valkey's configuration. The included file comes first, because later lines override it. */}}
{{- define "zoom-qos-proxy.valkeyConf" -}}
# requirepass, from the Secret. Without a password Valkey answers no other pod.
include /run/secrets/valkey/auth.conf
protected-mode yes
bind * -::*
port 6379
# Valkey writes nothing to disk. After a restart the replicas restore the day's count.
save ""
appendonly no
# Evict only keys with a time to live: snapshots, least recently used first. The budget has none, and an allkeys policy would
# evict it.
maxmemory {{ include "zoom-qos-proxy.bytes" .Values.valkey.maxMemory }}
maxmemory-policy volatile-lru
{{- end }}

{{/*
The memory of Valkey's container, in MiB: twice maxmemory plus 64. In the worst case, the server is filled with small records and then
with large ones, which do not fit into the gaps. With a maxmemory of 16, 64, 128 and 256 MiB, it then took 48, 156, 277 and 525 MiB.
tests/chart/test_valkey.py repeats the measurement for 16 MiB.
*/}}
{{- define "zoom-qos-proxy.valkeyMemoryMiB" -}}
{{- $bytes := include "zoom-qos-proxy.bytes" .Values.valkey.maxMemory | int64 -}}
{{- add (div (add (mul $bytes 2) 1048575) 1048576) 64 -}}
{{- end }}
