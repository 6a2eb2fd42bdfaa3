{{/*
What the schema cannot say: sums, and contradictions that need a sentence. All that is wrong is said at once.
*/}}
{{- define "zoom-qos-proxy.validate" -}}
{{- $wrong := list -}}
{{- $policy := .Values.networkPolicy -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" (include "zoom-qos-proxy.fullname" .)) -}}
{{- $wrong = append $wrong (printf "fullnameOverride: a Service's name must begin with a letter and hold only letters, digits and dashes, and %q does not, which comes from the release's name; set fullnameOverride" (include "zoom-qos-proxy.fullname" .)) -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (not (include "zoom-qos-proxy.sharedBudget" .)) -}}
{{- $wrong = append $wrong "autoscaling.enabled: without redis.existingSecret replicas do not share one budget, so their number must be known for each to get its share of Zoom's limits, and more of them do not raise those; set that, or autoscaling.enabled=false and replicaCount" -}}
{{- end -}}
{{- $shares := include "zoom-qos-proxy.shares" . | int -}}
{{- if gt $shares 1 -}}
{{- $account := include "zoom-qos-proxy.accountLimits" . | fromJson -}}
{{- $replica := include "zoom-qos-proxy.replicaLimits" . | fromJson -}}
{{- $surge := ternary 0 (int .Values.rollout.maxSurge) .Values.persistence.enabled -}}
{{- range $each := list (list "perSecond" "permittedPerSecond" "a second") (list "perDay" "permittedPerDay" "a day") -}}
{{- if lt (index $replica (index $each 1) | int) 1 -}}
{{- $wrong = append $wrong (printf "replicaCount: the account's limit of %d calls %s cannot be divided by %d (%d replicas, %d more during a rollout): less than one call would be left to each after the headroom; lower replicaCount" (int (index $account (first $each))) (last $each) $shares (int $.Values.replicaCount) $surge) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $stop := include "zoom-qos-proxy.stopSeconds" . | int -}}
{{- if le (include "zoom-qos-proxy.gracePeriodSeconds" . | int) $stop -}}
{{- $wrong = append $wrong (printf "terminationGracePeriodSeconds: must be longer than config.server.drain_delay and shutdown_timeout together, %d s, or requests under way are killed; raise it, or set it to null" $stop) -}}
{{- end -}}
{{- if eq (include "zoom-qos-proxy.port" .Values.config.server.listen) (include "zoom-qos-proxy.port" .Values.config.server.ops_listen) -}}
{{- $wrong = append $wrong "config.server.ops_listen: has the same port as config.server.listen; give one of them another" -}}
{{- end -}}
{{- with dig "limits" "memory" "" .Values.resources -}}
{{- $limit := include "zoom-qos-proxy.bytes" . -}}
{{- $needed := include "zoom-qos-proxy.memoryMiB" $ | int64 -}}
{{- if and $limit (lt (int64 $limit) (mul $needed 1048576)) -}}
{{- $wrong = append $wrong (printf "resources.limits.memory: %v is less than the %d MiB that a full cache of config.cache.max_bytes takes, so the container would be killed; raise it, lower max_bytes, or leave it out" . $needed) -}}
{{- end -}}
{{- end -}}
{{- if $policy.enabled -}}
{{- if and (or .Values.ingress.enabled .Values.httpRoute.enabled (ne .Values.service.type "ClusterIP")) (not $policy.callers.namespaces) (not $policy.callers.peers) -}}
{{- $wrong = append $wrong "networkPolicy.callers: lets in nobody but the release's own namespace, so nothing from outside reaches the service; name the namespace of the Ingress's or Gateway's controller in networkPolicy.callers.namespaces, or addresses in its peers" -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled (not $policy.operators.namespaces) (not $policy.operators.peers) -}}
{{- $wrong = append $wrong "networkPolicy.operators: lets nobody in, so Prometheus cannot scrape; name its namespace in networkPolicy.operators.namespaces" -}}
{{- end -}}
{{- if and .Values.redis.existingSecret (not $policy.redis.namespaces) (not $policy.redis.peers) -}}
{{- $wrong = append $wrong "networkPolicy.redis: leads nowhere, so the Redis of redis.existingSecret cannot be reached; name its namespace in networkPolicy.redis.namespaces" -}}
{{- end -}}
{{- if and .Values.config.telemetry.otlp_endpoint (not $policy.collector.namespaces) (not $policy.collector.peers) -}}
{{- $wrong = append $wrong "networkPolicy.collector: leads nowhere, so no trace reaches config.telemetry.otlp_endpoint; name the collector's namespace in networkPolicy.collector.namespaces" -}}
{{- end -}}
{{- end -}}
{{- if $wrong -}}
{{- fail (printf "\n\n%s\n" (join "\n" $wrong)) -}}
{{- end -}}
{{- end }}
