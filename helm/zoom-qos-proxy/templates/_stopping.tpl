{{/* Times for stopping a pod, in whole seconds. */}}

{{/* How long the service takes to stop: drain and shutdown, and with a collector 2 s for sending the last traces; rounded up. */}}
{{- define "zoom-qos-proxy.stopSeconds" -}}
{{- $drain := include "zoom-qos-proxy.milliseconds" (default "5s" .Values.config.server.drain_delay) | int64 -}}
{{- $shutdown := include "zoom-qos-proxy.milliseconds" (default "25s" .Values.config.server.shutdown_timeout) | int64 -}}
{{- $traces := ternary 0 2000 (empty .Values.config.telemetry.otlp_endpoint) -}}
{{- div (add $drain $shutdown $traces 999) 1000 -}}
{{- end }}

{{- define "zoom-qos-proxy.gracePeriodSeconds" -}}
{{- if kindIs "invalid" .Values.terminationGracePeriodSeconds -}}
{{- add (include "zoom-qos-proxy.stopSeconds" . | int64) 10 -}}
{{- else -}}
{{- int64 .Values.terminationGracePeriodSeconds -}}
{{- end -}}
{{- end }}

{{/*
How long a new pod waits before its service starts. A Deployment does not count stopping pods, so it starts a new pod while the old
one still drains. Without the wait, more pods could call Zoom than there are shares. After the grace period, the old pod is gone.
*/}}
{{- define "zoom-qos-proxy.predecessorSeconds" -}}
{{- if or .Values.persistence.enabled (eq (include "zoom-qos-proxy.shares" . | int) 1) -}}
0
{{- else -}}
{{- include "zoom-qos-proxy.gracePeriodSeconds" . -}}
{{- end -}}
{{- end }}
