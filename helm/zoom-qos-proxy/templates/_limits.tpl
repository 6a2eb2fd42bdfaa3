{{/*
The limits of each replica. Zoom's limits apply to the account. With Redis, the replicas share them (docs/adr/0016). Without Redis,
replicas do not know of each other. Each gets the same share, so that all pods that can run at the same time keep to the limits
together. docs/adr/0014 explains this, and which cases it does not cover.
*/}}

{{/* "true" if the replicas share one budget in Redis; else empty. */}}
{{- define "zoom-qos-proxy.sharedBudget" -}}
{{- if include "zoom-qos-proxy.redisSecret" . }}true{{ end -}}
{{- end }}

{{/*
The workload's number of replicas. With an autoscaler, it is the workload's current number, or empty if there is no workload yet. If
an upgrade removed the field of an earlier revision, Kubernetes would set it to 1 until the autoscaler acts.
*/}}
{{- define "zoom-qos-proxy.replicas" -}}
{{- if .Values.autoscaling.enabled -}}
{{- dig "spec" "replicas" "" (lookup "apps/v1" (include "zoom-qos-proxy.workloadKind" .) .Release.Namespace (include "zoom-qos-proxy.fullname" .)) -}}
{{- else -}}
{{- int .Values.replicaCount -}}
{{- end -}}
{{- end }}

{{/* The maximum number of pods that can run at the same time. */}}
{{- define "zoom-qos-proxy.pods" -}}
{{- $replicas := ternary (int .Values.autoscaling.maxReplicas) (int .Values.replicaCount) .Values.autoscaling.enabled -}}
{{- if .Values.persistence.enabled -}}
{{- /* A StatefulSet's pod stops before its successor starts. */ -}}
{{- $replicas -}}
{{- else -}}
{{- add $replicas (int .Values.rollout.maxSurge) -}}
{{- end -}}
{{- end }}

{{/* The number of equal shares into which the account's limits are divided; 1 if the limits are not divided. */}}
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
One replica's limits: {"perSecond": …, "perDay": …}, and the calls that it may make after the headroom: {"permittedPerSecond": …,
"permittedPerDay": …}. These are rounded down and can be 0. The service would then make 1 call, because it never permits fewer.
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
