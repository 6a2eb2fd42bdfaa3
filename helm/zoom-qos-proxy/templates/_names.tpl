{{/* Names and labels. */}}

{{- define "zoom-qos-proxy.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" }}
{{- end }}

{{/* At most 52 characters. Kubernetes gives a StatefulSet's pods a label that is 11 characters longer than its name, and a label has
at most 63. */}}
{{- define "zoom-qos-proxy.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{/* The labels by which a workload selects its pods. They must never change, because a Deployment's selector is immutable. */}}
{{- define "zoom-qos-proxy.selector" -}}
app.kubernetes.io/name: {{ include "zoom-qos-proxy.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: proxy
{{- end }}

{{/* Labels of the pods of `helm test`. They must not match the selector above. Otherwise the Services would route callers to these
pods, and the PodDisruptionBudget would count them. */}}
{{- define "zoom-qos-proxy.testSelector" -}}
app.kubernetes.io/name: {{ include "zoom-qos-proxy.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: test
{{- end }}

{{- define "zoom-qos-proxy.checkSelector" -}}
app.kubernetes.io/name: {{ include "zoom-qos-proxy.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: check
{{- end }}

{{- define "zoom-qos-proxy.moreLabels" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "zoom-qos-proxy.labels" -}}
{{ include "zoom-qos-proxy.selector" . }}
{{ include "zoom-qos-proxy.moreLabels" . }}
{{- end }}

{{- define "zoom-qos-proxy.serviceAccountName" -}}
{{- default (ternary (include "zoom-qos-proxy.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end }}

{{/* The name of the Secret that contains credentials.trial; empty if these are not set. */}}
{{- define "zoom-qos-proxy.trialSecret" -}}
{{- with .Values.credentials -}}
{{- if .trial.accountId -}}
{{- include "zoom-qos-proxy.nameByContent" (dict "base" (printf "%s-zoom" (include "zoom-qos-proxy.fullname" $)) "content" (toJson (list .keys .trial))) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "zoom-qos-proxy.credentialsSecret" -}}
{{- coalesce .Values.credentials.existingSecret (include "zoom-qos-proxy.trialSecret" .) (printf "%s-zoom" (include "zoom-qos-proxy.fullname" .)) -}}
{{- end }}

{{/* The pull secrets of the parent chart and of this one. As in other charts, an entry of `global` may be a plain name. */}}
{{- define "zoom-qos-proxy.pullSecrets" -}}
{{- $all := list -}}
{{- range concat (default list (default dict .Values.global).imagePullSecrets) .Values.imagePullSecrets -}}
{{- $all = append $all (kindIs "string" . | ternary (dict "name" .) .) -}}
{{- end -}}
{{- with uniq $all }}{{ toYaml . }}{{ end -}}
{{- end }}

{{- define "zoom-qos-proxy.image" -}}
{{- $registry := default .Values.image.registry (default dict .Values.global).imageRegistry -}}
{{- with $registry }}{{ . }}/{{ end -}}
{{- .Values.image.repository -}}
{{- if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ default .Chart.AppVersion .Values.image.tag }}{{ end -}}
{{- end }}
