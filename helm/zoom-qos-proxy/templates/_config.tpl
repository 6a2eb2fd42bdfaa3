{{/*
The service's configuration file. It does not set the listeners. The image sets them in environment variables, which override
every file, so the pod also sets them in environment variables.
*/}}

{{- define "zoom-qos-proxy.toml" -}}
{{- $shares := include "zoom-qos-proxy.shares" . | int -}}
{{- $replica := include "zoom-qos-proxy.replicaLimits" . | fromJson -}}
{{- $config := deepCopy .Values.config -}}
{{- $server := omit $config.server "listen" "ops_listen" -}}
{{- $secrets := "/run/secrets/zoom" -}}
{{- $zoom := merge (dict
    "account_id_file" (printf "%s/account_id" $secrets)
    "client_id_file" (printf "%s/client_id" $secrets)
    "client_secret_file" (printf "%s/client_secret" $secrets)) $config.zoom -}}
{{- if .Values.proxy.existingSecret -}}
{{- if .Values.proxy.keys.url }}{{ $zoom = merge (dict "proxy_file" "/run/secrets/proxy/url") $zoom }}{{ end -}}
{{- if .Values.proxy.keys.ca }}{{ $zoom = merge (dict "ca_file" "/run/secrets/proxy/ca.crt") $zoom }}{{ end -}}
{{- end -}}
{{- $limits := merge (dict "state_file" "/var/lib/zoom-qos-proxy/day.json") $config.limits -}}
{{- if gt $shares 1 -}}
{{- $limits = merge (dict "heavy_per_second" $replica.perSecond "heavy_per_day" $replica.perDay) $limits -}}
{{- end -}}
{{- $callers := $config.callers -}}
{{- if .Values.callers.existingSecret -}}
{{- $callers = merge (dict "file" "/etc/zoom-qos-proxy/callers/callers.toml") $callers -}}
{{- end -}}
{{- $redis := $config.redis -}}
{{- if include "zoom-qos-proxy.sharedBudget" . -}}
{{- $redis = merge (dict "url_file" "/run/secrets/redis/url" "replicas" (include "zoom-qos-proxy.pods" . | int)) $redis -}}
{{- if .Values.redis.keys.ca }}{{ $redis = merge (dict "ca_file" "/run/secrets/redis/ca.crt") $redis }}{{ end -}}
{{- if .Values.redis.keys.encryptionKey }}{{ $redis = merge (dict "encryption_key_file" "/run/secrets/redis/encryption_key") $redis }}{{ end -}}
{{- end -}}
{{- range $section := list (list "server" $server) (list "zoom" $zoom) (list "limits" $limits) (list "cache" $config.cache) (list "callers" $callers) (list "ops" $config.ops) (list "summary" $config.summary) (list "redis" $redis) (list "telemetry" $config.telemetry) -}}
{{- $set := dict -}}
{{- range $key, $value := last $section }}{{ if not (kindIs "invalid" $value) }}{{ $_ := set $set $key $value }}{{ end }}{{ end -}}
{{- with $set -}}
[{{ first $section }}]
{{- if and (eq (first $section) "limits") (gt $shares 1) }}
# One of {{ $shares }} shares of the account's limits.
{{- end }}
{{- range $key, $value := . }}
{{ $key }} = {{ toJson $value }}
{{- end }}

{{ end -}}
{{- end -}}
{{- end }}

{{- define "zoom-qos-proxy.listenerEnv" -}}
- name: QOS_PROXY__SERVER__LISTEN
  value: {{ .Values.config.server.listen | quote }}
- name: QOS_PROXY__SERVER__OPS_LISTEN
  value: {{ .Values.config.server.ops_listen | quote }}
{{- end }}
