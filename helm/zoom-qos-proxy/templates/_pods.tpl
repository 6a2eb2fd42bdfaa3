{{/* Parts that several pods of the chart share. */}}

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

{{/* The pod's runtime class, and how it resolves names. */}}
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

{{/* Resources of a container that runs another command of the service's program, such as `sleep`. */}}
{{- define "zoom-qos-proxy.commandResources" -}}
requests: {cpu: 10m, memory: 16Mi}
limits: {memory: 32Mi}
{{- end }}

{{/* Resources of the Job that runs `check-config`, which also reads certificates and the callers' file. */}}
{{- define "zoom-qos-proxy.checkResources" -}}
requests: {cpu: 10m, memory: 32Mi}
limits: {memory: 128Mi}
{{- end }}

{{/* Parts of the spec of a pod that runs one command of the program and ends. */}}
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

{{/* The group that owns mounted files, so that the pod's user can read Secrets. */}}
{{- define "zoom-qos-proxy.fsGroup" -}}
{{- with .Values.runAs.fsGroup -}}
fsGroup: {{ int64 . }}
fsGroupChangePolicy: OnRootMismatch
{{- end }}
{{- end }}
