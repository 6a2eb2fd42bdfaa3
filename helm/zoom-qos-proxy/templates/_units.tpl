{{/* Converts texts with units to numbers. The schema has already checked their format. */}}

{{/* "25s" → 25000 */}}
{{- define "zoom-qos-proxy.milliseconds" -}}
{{- $units := dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000 "d" 86400000 -}}
{{- mul (regexFind "^[0-9]+" . | int64) (get $units (regexFind "[a-z]+$" .)) -}}
{{- end }}

{{/* "256MiB", and Kubernetes' quantities ("512Mi", "1.5G", "1e9", "100m") → a number; empty if it is not a quantity. */}}
{{- define "zoom-qos-proxy.quantity" -}}
{{- $units := dict "" 1 "m" 0.001 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- $text := trimSuffix "B" (toString .) -}}
{{- if regexMatch "^[0-9]+([.][0-9]*)?([eE][+-]?[0-9]+|m|k|[MGT]|[KMGT]i)?$" $text -}}
{{- $number := regexFind "^[0-9.]+([eE][+-]?[0-9]+)?" $text -}}
{{- printf "%.3f" (mulf (float64 $number) (get $units (trimPrefix $number $text) | float64)) -}}
{{- end -}}
{{- end }}

{{/* The same quantity as a whole number, rounded down; empty if it is not a quantity. */}}
{{- define "zoom-qos-proxy.bytes" -}}
{{- with include "zoom-qos-proxy.quantity" . }}{{ float64 . | int64 }}{{ end -}}
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
