{{/*
Checks that values.schema.json cannot express, such as sums and contradictions. A failure lists all mistakes at once.
*/}}
{{- define "zoom-qos-proxy.validate" -}}
{{- $wrong := list -}}
{{- $policy := .Values.networkPolicy -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" (include "zoom-qos-proxy.fullname" .)) -}}
{{- $wrong = append $wrong (printf "fullnameOverride: a Service's name must begin with a letter and contain only letters, digits and dashes; %q, from the release's name, does not; set fullnameOverride" (include "zoom-qos-proxy.fullname" .)) -}}
{{- end -}}
{{- if not .Values.enabled -}}
{{- $wrong = append $wrong "enabled: only the `condition` of a parent chart's dependency reads this value; add `condition: zoom-qos-proxy.enabled` to the dependency in the parent's Chart.yaml, or uninstall the release" -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (not (include "zoom-qos-proxy.sharedBudget" .)) -}}
{{- $wrong = append $wrong "autoscaling.enabled: without redis.existingSecret replicas do not share one budget, so the number of replicas must be fixed to divide Zoom's limits, and more replicas do not raise them; set redis.existingSecret, or autoscaling.enabled=false and replicaCount" -}}
{{- end -}}
{{- $shares := include "zoom-qos-proxy.shares" . | int -}}
{{- if gt $shares 1 -}}
{{- $account := include "zoom-qos-proxy.accountLimits" . | fromJson -}}
{{- $replica := include "zoom-qos-proxy.replicaLimits" . | fromJson -}}
{{- $surge := ternary 0 (int .Values.rollout.maxSurge) .Values.persistence.enabled -}}
{{- range $each := list (list "perSecond" "permittedPerSecond" "a second") (list "perDay" "permittedPerDay" "a day") -}}
{{- if lt (index $replica (index $each 1) | int) 1 -}}
{{- $wrong = append $wrong (printf "replicaCount: the account's limit of %d calls %s cannot be divided by %d (%d replicas, %d more during a rollout): after the headroom each share is less than one call; lower replicaCount" (int (index $account (first $each))) (last $each) $shares (int $.Values.replicaCount) $surge) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $stop := include "zoom-qos-proxy.stopSeconds" . | int -}}
{{- if le (include "zoom-qos-proxy.gracePeriodSeconds" . | int) $stop -}}
{{- $wrong = append $wrong (printf "terminationGracePeriodSeconds: must be longer than config.server.drain_delay and shutdown_timeout together, %d s%s, or Kubernetes kills requests under way; raise it, or set it to null" $stop (ternary " with 2 s for the last traces" "" (not (empty .Values.config.telemetry.otlp_endpoint)))) -}}
{{- end -}}
{{- if eq (include "zoom-qos-proxy.port" .Values.config.server.listen) (include "zoom-qos-proxy.port" .Values.config.server.ops_listen) -}}
{{- $wrong = append $wrong "config.server.ops_listen: has the same port as config.server.listen; change one of them" -}}
{{- end -}}
{{- with dig "limits" "memory" "" .Values.resources -}}
{{- $limit := include "zoom-qos-proxy.bytes" . -}}
{{- $needed := include "zoom-qos-proxy.memoryMiB" $ | int64 -}}
{{- if and $limit (lt (int64 $limit) (mul $needed 1048576)) -}}
{{- $wrong = append $wrong (printf "resources.limits.memory: %v is less than the %d MiB that a full cache of config.cache.max_bytes takes, so Kubernetes would kill the container; raise the limit, lower max_bytes, or remove the limit" . $needed) -}}
{{- end -}}
{{- end -}}
{{- $resources := include "zoom-qos-proxy.resources" . | fromYaml -}}
{{- range $kind, $each := $resources -}}
{{- range $name, $value := $each -}}
{{- if not (include "zoom-qos-proxy.quantity" $value) -}}
{{- $wrong = append $wrong (printf "resources.%s.%s: %v is not a quantity such as 500m, 512Mi or 1.5Gi" $kind $name $value) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $name, $limit := $resources.limits -}}
{{- $limited := include "zoom-qos-proxy.quantity" $limit -}}
{{- $request := get $resources.requests $name -}}
{{- $asked := include "zoom-qos-proxy.quantity" $request -}}
{{- if and $limited $asked -}}
{{- if gt (float64 $asked) (float64 $limited) -}}
{{- $wrong = append $wrong (printf "resources.requests.%s: %v is more than the limit, %v, which Kubernetes rejects; lower the request, or raise resources.limits.%s" $name $request $limit $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $where, $labels := dict "podLabels" .Values.podLabels "serviceMonitor.labels" .Values.serviceMonitor.labels "prometheusRule.labels" .Values.prometheusRule.labels "dashboard.labels" .Values.dashboard.labels -}}
{{- range $key, $_ := $labels -}}
{{- if hasKey $.Values.commonLabels $key -}}
{{- $wrong = append $wrong (printf "%s: %s is also in commonLabels, and an object can have a label only once; remove it from one of them" $where $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $keys := values .Values.credentials.keys -}}
{{- if ne (len $keys) (len (uniq $keys)) -}}
{{- $wrong = append $wrong "credentials.keys: two keys have the same name, so the service would read one credential as another; use different names" -}}
{{- end -}}
{{- if .Values.valkey.enabled -}}
{{- if .Values.redis.existingSecret -}}
{{- $wrong = append $wrong "valkey.enabled: redis.existingSecret names another Redis, but replicas must share one; remove one of the two" -}}
{{- end -}}
{{- if .Values.redis.keys.ca -}}
{{- $wrong = append $wrong "redis.keys.ca: the Valkey of valkey.enabled has no TLS; leave redis.keys.ca empty" -}}
{{- end -}}
{{- if lt (include "zoom-qos-proxy.bytes" .Values.valkey.maxMemory | int64) 16777216 -}}
{{- $wrong = append $wrong (printf "valkey.maxMemory: %s leaves no room for meetings beside the server's own data; set 16MiB or more" .Values.valkey.maxMemory) -}}
{{- end -}}
{{- end -}}
{{- $keys = compact (append (values .Values.redis.keys) (ternary .Values.valkey.keys.auth "" .Values.valkey.enabled)) -}}
{{- if ne (len $keys) (len (uniq $keys)) -}}
{{- $wrong = append $wrong (printf "redis.keys: two keys%s have the same name, so the service would read one as another; use different names" (ternary " (valkey.keys.auth included)" "" .Values.valkey.enabled)) -}}
{{- end -}}
{{- with .Values.serviceMonitor -}}
{{- if gt (include "zoom-qos-proxy.milliseconds" .scrapeTimeout | int64) (include "zoom-qos-proxy.milliseconds" .interval | int64) -}}
{{- $wrong = append $wrong (printf "serviceMonitor.scrapeTimeout: %s is longer than serviceMonitor.interval, %s, and Prometheus rejects such a target; lower it" .scrapeTimeout .interval) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.proxy.existingSecret (not .Values.proxy.keys.url) (not .Values.proxy.keys.ca) -}}
{{- $wrong = append $wrong "proxy.keys: names neither a URL nor a CA in proxy.existingSecret; set proxy.keys.url or proxy.keys.ca" -}}
{{- end -}}
{{- if $policy.enabled -}}
{{- if and (or .Values.ingress.enabled .Values.httpRoute.enabled (ne .Values.service.type "ClusterIP")) (not $policy.callers.namespaces) (not $policy.callers.peers) -}}
{{- $wrong = append $wrong "networkPolicy.callers: admits only the release's own namespace, so no request from outside reaches the service; add the namespace of the Ingress's or Gateway's controller to networkPolicy.callers.namespaces, or addresses to networkPolicy.callers.peers" -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled (not $policy.operators.namespaces) (not $policy.operators.peers) -}}
{{- $wrong = append $wrong "networkPolicy.operators: admits nobody, so Prometheus cannot scrape; add its namespace to networkPolicy.operators.namespaces" -}}
{{- end -}}
{{- if and .Values.redis.existingSecret (not $policy.redis.namespaces) (not $policy.redis.peers) -}}
{{- $wrong = append $wrong "networkPolicy.redis: is empty, so the pods cannot reach the Redis of redis.existingSecret; add its namespace to networkPolicy.redis.namespaces" -}}
{{- end -}}
{{- if and .Values.proxy.existingSecret .Values.proxy.keys.url (not $policy.proxy.namespaces) (not $policy.proxy.peers) -}}
{{- $wrong = append $wrong "networkPolicy.proxy: is empty, so the pods cannot reach the proxy of proxy.existingSecret; add its namespace to networkPolicy.proxy.namespaces, or its address to networkPolicy.proxy.peers" -}}
{{- end -}}
{{- if and .Values.config.telemetry.otlp_endpoint (not $policy.collector.namespaces) (not $policy.collector.peers) -}}
{{- $wrong = append $wrong "networkPolicy.collector: is empty, so no trace reaches config.telemetry.otlp_endpoint; add the collector's namespace to networkPolicy.collector.namespaces" -}}
{{- end -}}
{{- end -}}
{{- $wrong = concat $wrong (include "zoom-qos-proxy.wrongReach" . | fromJsonArray) -}}
{{- if $wrong -}}
{{- fail (printf "\n\n%s\n" (join "\n" $wrong)) -}}
{{- end -}}
{{- end }}
