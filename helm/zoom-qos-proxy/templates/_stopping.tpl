{{/* Times for stopping a pod, in whole seconds. */}}

{{/* Drain and shutdown together, rounded up, plus 2 s for sending the last traces. */}}
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
How long a new pod waits before it starts. A Deployment does not count stopping pods: it starts a successor while the old pod still
drains, so for that time one more pod could call Zoom than there are shares. After the grace period the old pod is certainly gone.
*/}}
{{- define "zoom-qos-proxy.predecessorSeconds" -}}
{{- if or .Values.persistence.enabled (eq (include "zoom-qos-proxy.shares" . | int) 1) -}}
0
{{- else -}}
{{- include "zoom-qos-proxy.gracePeriodSeconds" . -}}
{{- end -}}
{{- end }}
