{{/*
ConfigMaps and Secrets are named by their content. So a pod always reads the content that its template was made for, even if its
container restarts during an upgrade that fails. docs/adr/0031 explains this, and how the objects of earlier revisions are kept.
*/}}

{{/* (dict "base" NAME "content" TEXT) → NAME-HASH */}}
{{- define "zoom-qos-proxy.nameByContent" -}}
{{- printf "%s-%s" .base (sha256sum .content | trunc 10) -}}
{{- end }}

{{- define "zoom-qos-proxy.configName" -}}
{{- include "zoom-qos-proxy.nameByContent" (dict "base" (include "zoom-qos-proxy.fullname" .) "content" (include "zoom-qos-proxy.toml" .)) -}}
{{- end }}

{{- define "zoom-qos-proxy.workloadKind" -}}
{{- ternary "StatefulSet" "Deployment" .Values.persistence.enabled -}}
{{- end }}

{{/* "true" if a workload is completely rolled out: all its pods have its current template and are available; else empty. */}}
{{- define "zoom-qos-proxy.rolledOut" -}}
{{- $wanted := dig "spec" "replicas" 0 . | int -}}
{{- $status := dig "status" dict . -}}
{{- $seen := ge (dig "observedGeneration" 0 $status | int) (dig "metadata" "generation" 0 . | int) -}}
{{- $all := true -}}
{{- range list "replicas" "updatedReplicas" "availableReplicas" -}}
{{- $all = and $all (eq (dig . 0 $status | int) $wanted) -}}
{{- end -}}
{{- if and $seen $all }}true{{ end -}}
{{- end }}

{{/*
The ConfigMaps or Secrets of a workload's earlier templates, newest first: [{"name": …, "data": {…}}]. An annotation of the workload
lists them, because Helm does not know the objects of a failed revision. The list is shortened only after a complete rollout. Before
that, all ready pods may still use the oldest entry.
(dict "root" $ "kind" "ConfigMap" "annotation" KEY "current" NAME "workload" KIND "workloadName" NAME)
*/}}
{{- define "zoom-qos-proxy.previous" -}}
{{- $namespace := .root.Release.Namespace -}}
{{- $workload := lookup "apps/v1" .workload $namespace .workloadName -}}
{{- $names := without (dig "metadata" "annotations" .annotation "" $workload | splitList " ") "" .current -}}
{{- if include "zoom-qos-proxy.rolledOut" $workload -}}
{{- $names = slice $names 0 (min (len $names) (max 1 (int .root.Values.rollout.revisionHistoryLimit))) -}}
{{- end -}}
{{- $found := list -}}
{{- range $name := $names -}}
{{- with lookup "v1" $.kind $namespace $name -}}
{{- $found = append $found (dict "name" $name "data" .data) -}}
{{- end -}}
{{- end -}}
{{- toJson $found -}}
{{- end }}

{{- define "zoom-qos-proxy.previousConfigs" -}}
{{- include "zoom-qos-proxy.previous" (dict "root" . "kind" "ConfigMap" "annotation" "zoom-qos-proxy/configurations"
    "current" (include "zoom-qos-proxy.configName" .)
    "workload" (include "zoom-qos-proxy.workloadKind" .) "workloadName" (include "zoom-qos-proxy.fullname" .)) -}}
{{- end }}

{{- define "zoom-qos-proxy.previousTrials" -}}
{{- include "zoom-qos-proxy.previous" (dict "root" . "kind" "Secret" "annotation" "zoom-qos-proxy/trial-credentials"
    "current" (include "zoom-qos-proxy.trialSecret" .)
    "workload" (include "zoom-qos-proxy.workloadKind" .) "workloadName" (include "zoom-qos-proxy.fullname" .)) -}}
{{- end }}

{{- define "zoom-qos-proxy.previousValkeyConfigs" -}}
{{- include "zoom-qos-proxy.previous" (dict "root" . "kind" "ConfigMap" "annotation" "zoom-qos-proxy/configurations"
    "current" (include "zoom-qos-proxy.valkeyConfigName" .)
    "workload" "StatefulSet" "workloadName" (include "zoom-qos-proxy.valkeyName" .)) -}}
{{- end }}

{{/* Annotations of a workload: each lists the ConfigMaps or Secrets of its templates. (list (list KEY CURRENT PREVIOUS) …) */}}
{{- define "zoom-qos-proxy.usedContents" -}}
{{- $annotations := dict -}}
{{- range . -}}
{{- $names := index . 1 | list | compact -}}
{{- range index . 2 | fromJsonArray }}{{ $names = append $names .name }}{{ end -}}
{{- if $names }}{{ $_ := set $annotations (first .) (join " " $names) }}{{ end -}}
{{- end -}}
{{- with $annotations }}{{ toYaml . }}{{ end -}}
{{- end }}

{{/* Metadata of an object that is named by its content: (dict "root" $ "name" NAME "labels" TEXT) */}}
{{- define "zoom-qos-proxy.contentMetadata" -}}
name: {{ .name | quote }}
namespace: {{ .root.Release.Namespace | quote }}
labels:
  {{- .labels | nindent 2 }}
annotations:
  # Argo CD prunes the objects of earlier revisions. With PruneLast, it waits until the new pods are ready.
  argocd.argoproj.io/sync-options: PruneLast=true
{{- end }}

{{- define "zoom-qos-proxy.workloadAnnotations" -}}
{{- with .Values.workloadAnnotations }}
{{- toYaml . }}
{{ end -}}
{{- include "zoom-qos-proxy.usedContents" (list
    (list "zoom-qos-proxy/configurations" (include "zoom-qos-proxy.configName" .) (include "zoom-qos-proxy.previousConfigs" .))
    (list "zoom-qos-proxy/trial-credentials" (include "zoom-qos-proxy.trialSecret" .) (include "zoom-qos-proxy.previousTrials" .))) -}}
{{- end }}
