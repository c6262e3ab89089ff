{{- define "sendgate.name" -}}{{ .Release.Name | trunc 52 | trimSuffix "-" }}-sendgate{{- end }}

{{- define "sendgate.labels" -}}
app.kubernetes.io/name: sendgate
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "sendgate.selector" -}}
app.kubernetes.io/name: sendgate
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "sendgate.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* The container. Beside an application it listens where only the pod can ask; alone, on the pod's address. */}}
{{- define "sendgate.container" -}}
{{- $alone := eq .Values.mode "standalone" -}}
name: sendgate
image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
imagePullPolicy: {{ .Values.image.pullPolicy }}
args: [serve, --config, /etc/sendgate/config.yaml]
{{- with .Values.secret.accountKeys }}
envFrom: [{secretRef: {name: {{ . }}}}]
{{- end }}
{{- if $alone }}
ports:
- {name: grpc, containerPort: 7070}
- {name: http, containerPort: 7071}
startupProbe:
  httpGet: {path: /readyz, port: http{{ if .Values.tls.secretName }}, scheme: HTTPS{{ end }}}
  periodSeconds: 1
  failureThreshold: 60
readinessProbe:
  httpGet: {path: /readyz, port: http{{ if .Values.tls.secretName }}, scheme: HTTPS{{ end }}}
  periodSeconds: 5
livenessProbe:
  httpGet: {path: /healthz, port: http{{ if .Values.tls.secretName }}, scheme: HTTPS{{ end }}}
  periodSeconds: 10
{{- end }}
resources: {{- toYaml .Values.resources | nindent 2 }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
volumeMounts:
- {name: sendgate-config, mountPath: /etc/sendgate, readOnly: true}
- {name: sendgate-state, mountPath: /var/lib/sendgate}
{{- if not $alone }}
- {name: sendgate-run, mountPath: /run/sendgate}
{{- end }}
{{- with .Values.tls.secretName }}
- {name: sendgate-tls, mountPath: /run/tls, readOnly: true}
{{- end }}
{{- with .Values.secret.name }}
- {name: sendgate-secret, mountPath: /run/secret, readOnly: true}
{{- end }}
{{- with .Values.secret.adminKeys }}
- {name: sendgate-admin, mountPath: /run/admin, readOnly: true}
{{- end }}
{{- with .Values.store.passwordSecret }}
- {name: sendgate-store, mountPath: /run/store, readOnly: true}
{{- end }}
{{- end }}

{{/* Its volumes, but for sendgate-state of a StatefulSet. */}}
{{- define "sendgate.volumes" -}}
- {name: sendgate-config, configMap: {name: {{ include "sendgate.name" . }}}}
{{- if ne .Values.mode "standalone" }}
- {name: sendgate-run, emptyDir: {}}
{{- end }}
{{- with .Values.tls.secretName }}
- {name: sendgate-tls, secret: {secretName: {{ . }}, defaultMode: 0440}}
{{- end }}
{{- with .Values.secret.name }}
- {name: sendgate-secret, secret: {secretName: {{ . }}, defaultMode: 0440}}
{{- end }}
{{- with .Values.secret.adminKeys }}
- {name: sendgate-admin, secret: {secretName: {{ . }}, defaultMode: 0440}}
{{- end }}
{{- with .Values.store.passwordSecret }}
- {name: sendgate-store, secret: {secretName: {{ . }}, defaultMode: 0440}}
{{- end }}
{{- end }}
