{{/* The pod, for Deployment and StatefulSet. */}}
{{- define "zoom-qos-proxy.pod" -}}
metadata:
  labels:
    # Without the chart's version: a new chart version with the same service must not replace the pods.
    {{- include "zoom-qos-proxy.selector" . | nindent 4 }}
    app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
    {{- with .Values.commonLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    kubectl.kubernetes.io/default-container: zoom-qos-proxy
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "zoom-qos-proxy.serviceAccountName" . | quote }}
  automountServiceAccountToken: false
  # The service does not use the variables of the namespace's Services, and there may be many.
  enableServiceLinks: false
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . | quote }}
  {{- end }}
  terminationGracePeriodSeconds: {{ include "zoom-qos-proxy.gracePeriodSeconds" . }}
  securityContext:
    {{- include "zoom-qos-proxy.podSecurity" . | nindent 4 }}
    {{- with .Values.runAs.fsGroup }}
    fsGroup: {{ int64 . }}
    fsGroupChangePolicy: OnRootMismatch
    {{- end }}
  containers:
    - name: zoom-qos-proxy
      image: {{ include "zoom-qos-proxy.image" . }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [serve, --config, /etc/zoom-qos-proxy/config/config.toml]
      env:
        - name: QOS_PROXY__SERVER__LISTEN
          value: {{ .Values.config.server.listen | quote }}
        - name: QOS_PROXY__SERVER__OPS_LISTEN
          value: {{ .Values.config.server.ops_listen | quote }}
        {{- with .Values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        - name: http
          containerPort: {{ include "zoom-qos-proxy.port" .Values.config.server.listen }}
        - name: ops
          containerPort: {{ include "zoom-qos-proxy.port" .Values.config.server.ops_listen }}
      startupProbe:
        httpGet: {path: /healthz, port: ops}
        {{- toYaml .Values.probes.startup | nindent 8 }}
      livenessProbe:
        httpGet: {path: /healthz, port: ops}
        {{- toYaml .Values.probes.liveness | nindent 8 }}
      readinessProbe:
        httpGet: {path: /readyz, port: ops}
        {{- if ne (include "zoom-qos-proxy.readinessDelaySeconds" .) "0" }}
        # By then the pod that this one replaces is certainly gone: see _stopping.tpl.
        initialDelaySeconds: {{ include "zoom-qos-proxy.readinessDelaySeconds" . }}
        {{- end }}
        {{- toYaml .Values.probes.readiness | nindent 8 }}
      resources:
        {{- include "zoom-qos-proxy.resources" . | nindent 8 }}
      securityContext:
        {{- include "zoom-qos-proxy.containerSecurity" . | nindent 8 }}
      volumeMounts:
        # Mount folders, never subPath: Kubernetes does not update a subPath when a Secret changes.
        - {name: config, mountPath: /etc/zoom-qos-proxy/config, readOnly: true}
        - {name: credentials, mountPath: /run/secrets/zoom, readOnly: true}
        {{- if .Values.proxy.existingSecret }}
        - {name: proxy, mountPath: /run/secrets/proxy, readOnly: true}
        {{- end }}
        {{- if .Values.callers.existingSecret }}
        - {name: callers, mountPath: /etc/zoom-qos-proxy/callers, readOnly: true}
        {{- end }}
        {{- if include "zoom-qos-proxy.redisSecret" . }}
        - {name: redis, mountPath: /run/secrets/redis, readOnly: true}
        {{- end }}
        - {name: state, mountPath: /var/lib/zoom-qos-proxy}
        {{- with .Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    {{- with .Values.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    # The service reads its configuration at start only. A change gives the ConfigMap another name and so replaces the pods.
    - name: config
      configMap:
        name: {{ include "zoom-qos-proxy.configName" . | quote }}
    - name: credentials
      secret:
        secretName: {{ include "zoom-qos-proxy.credentialsSecret" . | quote }}
        {{- if .Values.runAs.fsGroup }}
        defaultMode: 0440
        {{- end }}
        items:
          - {key: {{ .Values.credentials.keys.accountId | quote }}, path: account_id}
          - {key: {{ .Values.credentials.keys.clientId | quote }}, path: client_id}
          - {key: {{ .Values.credentials.keys.clientSecret | quote }}, path: client_secret}
    {{- if .Values.proxy.existingSecret }}
    - name: proxy
      secret:
        secretName: {{ .Values.proxy.existingSecret | quote }}
        {{- if .Values.runAs.fsGroup }}
        defaultMode: 0440
        {{- end }}
        items:
          {{- with .Values.proxy.keys.url }}
          - {key: {{ . | quote }}, path: url}
          {{- end }}
          {{- with .Values.proxy.keys.ca }}
          - {key: {{ . | quote }}, path: ca.crt}
          {{- end }}
    {{- end }}
    {{- if .Values.callers.existingSecret }}
    - name: callers
      secret:
        secretName: {{ .Values.callers.existingSecret | quote }}
        {{- if .Values.runAs.fsGroup }}
        defaultMode: 0440
        {{- end }}
        items:
          - {key: {{ .Values.callers.key | quote }}, path: callers.toml}
    {{- end }}
    {{- if include "zoom-qos-proxy.redisSecret" . }}
    - name: redis
      secret:
        secretName: {{ include "zoom-qos-proxy.redisSecret" . | quote }}
        {{- if .Values.runAs.fsGroup }}
        defaultMode: 0440
        {{- end }}
        items:
          - {key: {{ .Values.redis.keys.url | quote }}, path: url}
          {{- with .Values.redis.keys.ca }}
          - {key: {{ . | quote }}, path: ca.crt}
          {{- end }}
          {{- with .Values.redis.keys.encryptionKey }}
          - {key: {{ . | quote }}, path: encryption_key}
          {{- end }}
    {{- end }}
    {{- if not .Values.persistence.enabled }}
    # The day's count. It survives a restart of the container, but not the pod.
    - name: state
      emptyDir:
        sizeLimit: 1Mi
    {{- end }}
    {{- with .Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- if or .Values.topologySpread.hosts .Values.topologySpread.zones }}
  topologySpreadConstraints:
    {{- range $each := list (list "kubernetes.io/hostname" .Values.topologySpread.hosts) (list "topology.kubernetes.io/zone" .Values.topologySpread.zones) }}
    {{- if last $each }}
    - maxSkew: 1
      topologyKey: {{ first $each }}
      whenUnsatisfiable: {{ last $each }}
      labelSelector:
        matchLabels:
          {{- include "zoom-qos-proxy.selector" $ | nindent 10 }}
    {{- end }}
    {{- end }}
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

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
