{{/* Contradictory values about the Services, images, scaling and alerts: a list of sentences as JSON, one for each mistake. */}}
{{- define "zoom-qos-proxy.wrongReach" -}}
{{- $wrong := list -}}
{{- with .Values.service -}}
{{- $external := ne .type "ClusterIP" -}}
{{- range $key := list "externalTrafficPolicy" "nodePort" -}}
{{- if and (get $.Values.service $key) (not $external) -}}
{{- $wrong = append $wrong (printf "service.%s: a ClusterIP is not reached through the nodes; set service.type to NodePort or LoadBalancer, or remove it" $key) -}}
{{- end -}}
{{- end -}}
{{- range $key := list "loadBalancerClass" "loadBalancerSourceRanges" -}}
{{- if and (get $.Values.service $key) (ne $.Values.service.type "LoadBalancer") -}}
{{- $wrong = append $wrong (printf "service.%s: there is no load balancer; set service.type to LoadBalancer, or remove it" $key) -}}
{{- end -}}
{{- end -}}
{{- if and (eq (len .ipFamilies) 2) (has .ipFamilyPolicy (list "" "SingleStack")) -}}
{{- $wrong = append $wrong "service.ipFamilies: two families need service.ipFamilyPolicy PreferDualStack or RequireDualStack" -}}
{{- end -}}
{{- end -}}
{{- if and (eq (first .Values.service.ipFamilies | default "") "IPv6") (or (hasPrefix "0.0.0.0" .Values.config.server.listen) (hasPrefix "0.0.0.0" .Values.config.server.ops_listen)) -}}
{{- $wrong = append $wrong "service.ipFamilies: IPv6 does not reach listeners on 0.0.0.0; set config.server.listen and ops_listen to [::]:8080 and [::]:9090" -}}
{{- end -}}
{{- range $key, $image := dict "image" .Values.image "valkey.image" .Values.valkey.image -}}
{{- if and (eq $image.tag "latest") (not $image.digest) -}}
{{- $wrong = append $wrong (printf "%s.tag: latest names another image whenever somebody pushes one, so a pod that restarts could run another version than its neighbour; set a version, or %s.digest" $key $key) -}}
{{- end -}}
{{- end -}}
{{- with .Values.autoscaling -}}
{{- if .enabled -}}
{{- if gt (int .minReplicas) (int .maxReplicas) -}}
{{- $wrong = append $wrong (printf "autoscaling.minReplicas: %d is more than autoscaling.maxReplicas, %d" (int .minReplicas) (int .maxReplicas)) -}}
{{- end -}}
{{- if not (or .targetCPUUtilizationPercentage .metrics) -}}
{{- $wrong = append $wrong "autoscaling.metrics: is empty, and there is no targetCPUUtilizationPercentage, so nothing would scale; set one of them" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $least := ternary (int .Values.autoscaling.minReplicas) (int .Values.replicaCount) .Values.autoscaling.enabled -}}
{{- $stay := .Values.pdb.minAvailable -}}
{{- if and .Values.pdb.enabled (gt $least 1) (or (eq (toString $stay) "100%") (and (not (kindIs "string" $stay)) (ge (int $stay) $least))) -}}
{{- $wrong = append $wrong (printf "pdb.minAvailable: %v of %d replicas allows no eviction at all, so no node could be drained; lower it" $stay $least) -}}
{{- end -}}
{{- $alerts := list -}}
{{- range (.Files.Get "files/rules.yaml" | fromYaml).groups }}{{ range .rules }}{{ $alerts = append $alerts .alert }}{{ end }}{{ end -}}
{{- range .Values.prometheusRule.disabled -}}
{{- if not (has . $alerts) -}}
{{- $wrong = append $wrong (printf "prometheusRule.disabled: no alert is called %s; files/rules.yaml lists them" .) -}}
{{- end -}}
{{- end -}}
{{- toJson $wrong -}}
{{- end }}
