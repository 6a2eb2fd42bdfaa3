{{/* The files that the service reads: for its own pods, and for the Job that checks its configuration. */}}

{{- define "zoom-qos-proxy.mounts" -}}
# Mount folders, never subPath: Kubernetes does not update a subPath when a Secret changes.
- {name: config, mountPath: /etc/zoom-qos-proxy/config, readOnly: true}
- {name: credentials, mountPath: /run/secrets/zoom, readOnly: true}
{{- if .Values.proxy.existingSecret }}
- {name: proxy, mountPath: /run/secrets/proxy, readOnly: true}
{{- end }}
{{- if .Values.callers.existingSecret }}
- {name: callers, mountPath: /etc/zoom-qos-proxy/callers, readOnly: true}
{{- end }}
{{- if .Values.callers.jwksSecret }}
- {name: issuers, mountPath: /etc/zoom-qos-proxy/issuers, readOnly: true}
{{- end }}
{{- if include "zoom-qos-proxy.redisSecret" . }}
- {name: redis, mountPath: /run/secrets/redis, readOnly: true}
{{- end }}
- {name: state, mountPath: /var/lib/zoom-qos-proxy}
{{- end }}

{{/* (dict "root" $ "optional" BOOLEAN). If "optional" is false, a pod waits until the Secrets exist. */}}
{{- define "zoom-qos-proxy.secretVolumes" -}}
- name: credentials
  secret:
    secretName: {{ include "zoom-qos-proxy.credentialsSecret" .root | quote }}
    {{- if .optional }}
    optional: true
    {{- end }}
    {{- if .root.Values.runAs.fsGroup }}
    defaultMode: 0440
    {{- end }}
    items:
      - {key: {{ .root.Values.credentials.keys.accountId | quote }}, path: account_id}
      - {key: {{ .root.Values.credentials.keys.clientId | quote }}, path: client_id}
      - {key: {{ .root.Values.credentials.keys.clientSecret | quote }}, path: client_secret}
{{- if .root.Values.proxy.existingSecret }}
- name: proxy
  secret:
    secretName: {{ .root.Values.proxy.existingSecret | quote }}
    {{- if .optional }}
    optional: true
    {{- end }}
    {{- if .root.Values.runAs.fsGroup }}
    defaultMode: 0440
    {{- end }}
    items:
      {{- with .root.Values.proxy.keys.url }}
      - {key: {{ . | quote }}, path: url}
      {{- end }}
      {{- with .root.Values.proxy.keys.ca }}
      - {key: {{ . | quote }}, path: ca.crt}
      {{- end }}
{{- end }}
{{- if .root.Values.callers.existingSecret }}
- name: callers
  secret:
    secretName: {{ .root.Values.callers.existingSecret | quote }}
    {{- if .optional }}
    optional: true
    {{- end }}
    {{- if .root.Values.runAs.fsGroup }}
    defaultMode: 0440
    {{- end }}
    items:
      - {key: {{ .root.Values.callers.key | quote }}, path: callers.toml}
{{- end }}
{{- if .root.Values.callers.jwksSecret }}
- name: issuers
  secret:
    secretName: {{ .root.Values.callers.jwksSecret | quote }}
    {{- if .optional }}
    optional: true
    {{- end }}
    {{- if .root.Values.runAs.fsGroup }}
    defaultMode: 0440
    {{- end }}
{{- end }}
{{- if include "zoom-qos-proxy.redisSecret" .root }}
- name: redis
  secret:
    secretName: {{ include "zoom-qos-proxy.redisSecret" .root | quote }}
    {{- if .optional }}
    optional: true
    {{- end }}
    {{- if .root.Values.runAs.fsGroup }}
    defaultMode: 0440
    {{- end }}
    items:
      - {key: {{ .root.Values.redis.keys.url | quote }}, path: url}
      {{- with .root.Values.redis.keys.ca }}
      - {key: {{ . | quote }}, path: ca.crt}
      {{- end }}
      {{- with .root.Values.redis.keys.encryptionKey }}
      - {key: {{ . | quote }}, path: encryption_key}
      {{- end }}
{{- end }}
{{- end }}
