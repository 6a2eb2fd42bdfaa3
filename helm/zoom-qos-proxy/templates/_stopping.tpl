{{/* How long things take when a pod stops, in whole seconds. */}}

{{/* Drain and shutdown together, rounded up, and 2 s in which the last traces are sent. */}}
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
How long a new pod is not asked whether it is ready. A Deployment does not count pods that are stopping: it starts a
successor while the old one still drains, and for that time one more calls Zoom than there are shares for. A pod that is
not ready has no callers, and so makes no calls; after the grace period the old one is certainly gone.
*/}}
{{- define "zoom-qos-proxy.readinessDelaySeconds" -}}
{{- if or .Values.persistence.enabled (eq (include "zoom-qos-proxy.shares" . | int) 1) -}}
0
{{- else -}}
{{- include "zoom-qos-proxy.gracePeriodSeconds" . -}}
{{- end -}}
{{- end }}
