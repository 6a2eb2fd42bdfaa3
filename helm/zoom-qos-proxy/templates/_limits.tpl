{{/*
The limits of each replica. Zoom's limits apply to the account. With Redis, replicas keep to them together (docs/adr/0016).
Without Redis they do not know of each other: each gets the same share, so that all pods that can run at once keep to the
limits together. docs/adr/0014 says why, and which cases this does not cover.
*/}}

{{/* "true" when replicas share one budget. */}}
{{- define "zoom-qos-proxy.sharedBudget" -}}
{{- if include "zoom-qos-proxy.redisSecret" . }}true{{ end -}}
{{- end }}

{{/*
The number of replicas in the workload; empty: not Helm's to set. With an autoscaler it is the present number. If Helm removed the
field that an earlier revision with replicaCount had, Kubernetes would set it to 1 until the autoscaler acts.
*/}}
{{- define "zoom-qos-proxy.replicas" -}}
{{- if .Values.autoscaling.enabled -}}
{{- dig "spec" "replicas" "" (lookup "apps/v1" (include "zoom-qos-proxy.workloadKind" .) .Release.Namespace (include "zoom-qos-proxy.fullname" .)) -}}
{{- else -}}
{{- int .Values.replicaCount -}}
{{- end -}}
{{- end }}

{{/* Pods that can run at once. */}}
{{- define "zoom-qos-proxy.pods" -}}
{{- $replicas := ternary (int .Values.autoscaling.maxReplicas) (int .Values.replicaCount) .Values.autoscaling.enabled -}}
{{- if .Values.persistence.enabled -}}
{{- /* A StatefulSet's pod stops before its successor starts. */ -}}
{{- $replicas -}}
{{- else -}}
{{- add $replicas (int .Values.rollout.maxSurge) -}}
{{- end -}}
{{- end }}

{{/* The number of shares. */}}
{{- define "zoom-qos-proxy.shares" -}}
{{- if or (include "zoom-qos-proxy.sharedBudget" .) (eq (int .Values.replicaCount) 1) -}}
1
{{- else -}}
{{- include "zoom-qos-proxy.pods" . -}}
{{- end -}}
{{- end }}

{{/* The account's limits: {"perSecond": …, "perDay": …}. The plans are those of src/config/limits.rs. */}}
{{- define "zoom-qos-proxy.accountLimits" -}}
{{- $plans := dict "free" (list 1 1000) "pro" (list 10 30000) "business" (list 40 60000) -}}
{{- $limits := .Values.config.limits -}}
{{- $plan := get $plans (default "business" $limits.plan) -}}
{{- dict "perSecond" (int64 (default (first $plan) $limits.heavy_per_second)) "perDay" (int64 (default (last $plan) $limits.heavy_per_day)) | toJson -}}
{{- end }}

{{/*
One replica's limits: {"perSecond": …, "perDay": …}, and the same after the headroom: {"permittedPerSecond": …,
"permittedPerDay": …}. The latter are 0 where the service would permit 1, the least it can permit.
*/}}
{{- define "zoom-qos-proxy.replicaLimits" -}}
{{- $shares := include "zoom-qos-proxy.shares" . | int64 -}}
{{- $account := include "zoom-qos-proxy.accountLimits" . | fromJson -}}
{{- $headroom := .Values.config.limits.headroom_percent -}}
{{- $percent := sub 100 (ternary 10 $headroom (kindIs "invalid" $headroom) | int64) -}}
{{- $perSecond := div (int64 $account.perSecond) $shares -}}
{{- $perDay := div (int64 $account.perDay) $shares -}}
{{- dict "perSecond" $perSecond "perDay" $perDay
    "permittedPerSecond" (div (mul $perSecond $percent) 100)
    "permittedPerDay" (div (mul $perDay $percent) 100) | toJson -}}
{{- end }}
