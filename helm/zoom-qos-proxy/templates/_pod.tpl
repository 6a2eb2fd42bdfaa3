{{/* The pod template of the Deployment and of the StatefulSet. */}}
{{- define "zoom-qos-proxy.pod" -}}
metadata:
  labels:
    # The chart's version is not a label: a new version of the chart with the same service must not replace the pods.
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
  {{- with include "zoom-qos-proxy.pullSecrets" . }}
  imagePullSecrets:
    {{- . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . | quote }}
  {{- end }}
  {{- with include "zoom-qos-proxy.podEnvironment" . | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  terminationGracePeriodSeconds: {{ include "zoom-qos-proxy.gracePeriodSeconds" . }}
  securityContext:
    {{- include "zoom-qos-proxy.podSecurity" . | nindent 4 }}
    {{- include "zoom-qos-proxy.fsGroup" . | nindent 4 }}
  {{- $waits := ne (include "zoom-qos-proxy.predecessorSeconds" .) "0" }}
  {{- if or $waits .Values.extraInitContainers }}
  initContainers:
    {{- with .Values.extraInitContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- if $waits }}
    # Waits until the pod's predecessor has stopped (_stopping.tpl). An init container runs once for each pod, and not again when
    # the service's container restarts.
    - name: wait-for-predecessor
      image: {{ include "zoom-qos-proxy.image" . }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [sleep, {{ printf "%ss" (include "zoom-qos-proxy.predecessorSeconds" .) | quote }}]
      resources:
        {{- include "zoom-qos-proxy.commandResources" . | nindent 8 }}
      securityContext:
        {{- include "zoom-qos-proxy.containerSecurity" . | nindent 8 }}
    {{- end }}
  {{- end }}
  containers:
    - name: zoom-qos-proxy
      image: {{ include "zoom-qos-proxy.image" . }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [serve, --config, /etc/zoom-qos-proxy/config/config.toml]
      env:
        {{- include "zoom-qos-proxy.listenerEnv" . | nindent 8 }}
        {{- with .Values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with .Values.extraEnvFrom }}
      envFrom:
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
        {{- toYaml .Values.probes.readiness | nindent 8 }}
      resources:
        {{- include "zoom-qos-proxy.resources" . | nindent 8 }}
      securityContext:
        {{- include "zoom-qos-proxy.containerSecurity" . | nindent 8 }}
      volumeMounts:
        {{- include "zoom-qos-proxy.mounts" . | nindent 8 }}
        {{- with .Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    {{- with .Values.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    # The service reads its configuration only at start. A changed configuration has another name, so it replaces the pods.
    - name: config
      configMap:
        name: {{ include "zoom-qos-proxy.configName" . | quote }}
    {{- include "zoom-qos-proxy.secretVolumes" (dict "root" . "optional" false) | nindent 4 }}
    {{- if not .Values.persistence.enabled }}
    # The count of the day's calls. It survives a restart of the container, but is lost with the pod.
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
