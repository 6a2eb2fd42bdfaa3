{{/* What all pods of the chart have in common. */}}

{{/* The requirements of the restricted Pod Security Standard, and a read-only root. No value changes them. */}}
{{- define "zoom-qos-proxy.podSecurity" -}}
runAsNonRoot: true
{{- with .Values.runAs.user }}
runAsUser: {{ int64 . }}
{{- end }}
{{- with .Values.runAs.group }}
runAsGroup: {{ int64 . }}
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "zoom-qos-proxy.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* How a pod runs, and how it resolves names. */}}
{{- define "zoom-qos-proxy.podEnvironment" -}}
{{- with .Values.runtimeClassName }}
runtimeClassName: {{ . | quote }}
{{- end }}
{{- with .Values.dnsPolicy }}
dnsPolicy: {{ . }}
{{- end }}
{{- with .Values.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Resources of a container that runs one of the program's other commands. */}}
{{- define "zoom-qos-proxy.commandResources" -}}
requests: {cpu: 10m, memory: 16Mi}
limits: {memory: 32Mi}
{{- end }}

{{/* check-config reads certificates and the callers' file. */}}
{{- define "zoom-qos-proxy.checkResources" -}}
requests: {cpu: 10m, memory: 32Mi}
limits: {memory: 128Mi}
{{- end }}

{{/* The spec of a pod that runs one of the program's other commands and ends. */}}
{{- define "zoom-qos-proxy.commandPod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with include "zoom-qos-proxy.pullSecrets" . }}
imagePullSecrets:
  {{- . | nindent 2 }}
{{- end }}
{{- include "zoom-qos-proxy.podEnvironment" . }}
securityContext:
  {{- include "zoom-qos-proxy.podSecurity" . | nindent 2 }}
  {{- include "zoom-qos-proxy.fsGroup" . | nindent 2 }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Lets the pod's user read mounted Secrets. */}}
{{- define "zoom-qos-proxy.fsGroup" -}}
{{- with .Values.runAs.fsGroup -}}
fsGroup: {{ int64 . }}
fsGroupChangePolicy: OnRootMismatch
{{- end }}
{{- end }}
