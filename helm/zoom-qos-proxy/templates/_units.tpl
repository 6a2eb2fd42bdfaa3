{{/* Texts with units to numbers. That they have the right form is the schema's business. */}}

{{/* "25s" → 25000 */}}
{{- define "zoom-qos-proxy.milliseconds" -}}
{{- $units := dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000 "d" 86400000 -}}
{{- mul (regexFind "^[0-9]+" . | int64) (get $units (regexFind "[a-z]+$" .)) -}}
{{- end }}

{{/* "256MiB", and Kubernetes' "512Mi", "1G", "1000000" → bytes; nothing for other forms, such as "1e9" */}}
{{- define "zoom-qos-proxy.bytes" -}}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 -}}
{{- $text := trimSuffix "B" (toString .) -}}
{{- if regexMatch "^[0-9]+(k|M|G|Ki|Mi|Gi)?$" $text -}}
{{- mul (regexFind "^[0-9]+" $text | int64) (get $units (regexFind "[A-Za-z]*$" $text)) -}}
{{- end -}}
{{- end }}

{{/* The port of "0.0.0.0:8080" or "[::]:8080" */}}
{{- define "zoom-qos-proxy.port" -}}
{{- regexFind "[0-9]+$" . -}}
{{- end }}

{{/* The port of an http or https URL */}}
{{- define "zoom-qos-proxy.urlPort" -}}
{{- $url := urlParse . -}}
{{- default (ternary "443" "80" (eq $url.scheme "https")) (regexFind ":[0-9]+$" $url.host | trimPrefix ":") -}}
{{- end }}
