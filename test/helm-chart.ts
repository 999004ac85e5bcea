// A chart with what makes charts hard on an API server: a custom kind and an object of it, hooks, a subchart, lookup.
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

const FILES: Readonly<Record<string, string>> = {
  "Chart.yaml": `
apiVersion: v2
name: harbour
version: 0.1.0
appVersion: "1"
dependencies: [{ name: store, version: 0.1.0, condition: store.enabled }]
`,
  "values.yaml": `
replicas: 2
image: harbour:1
fails: false
store: { enabled: true, size: 1 }
`,
  "crds/boats.yaml": `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: boats.harbour.example }
spec:
  group: harbour.example
  names: { kind: Boat, plural: boats, singular: boat }
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      schema: { openAPIV3Schema: { type: object, properties: { spec: { type: object, properties: { masts: { type: integer, minimum: 1 } } } } } }
`,
  "templates/boat.yaml": `
apiVersion: harbour.example/v1
kind: Boat
metadata: { name: {{ .Release.Name }} }
spec: { masts: 3 }
`,
  // Made once, and the same after each upgrade: what is there is looked up.
  "templates/secret.yaml": `
{{- $there := lookup "v1" "Secret" .Release.Namespace (printf "%s-key" .Release.Name) }}
apiVersion: v1
kind: Secret
metadata: { name: {{ .Release.Name }}-key }
data: { key: {{ if $there }}{{ $there.data.key }}{{ else }}{{ randAlphaNum 16 | b64enc }}{{ end }} }
`,
  "templates/deployment.yaml": `
apiVersion: apps/v1
kind: Deployment
metadata: { name: {{ .Release.Name }}, labels: { kube: {{ .Capabilities.KubeVersion.Version | quote }} } }
spec:
  replicas: {{ .Values.replicas }}
  {{- if .Values.fails }}
  # That it fails is told by its status, long before a client has waited enough.
  progressDeadlineSeconds: 1
  {{- end }}
  selector: { matchLabels: { app: {{ .Release.Name }} } }
  template:
    metadata: { labels: { app: {{ .Release.Name }} } }
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: harbour
          image: {{ .Values.image }}
          {{- if .Values.fails }}
          command: [sleep, infinity]
          readinessProbe: { tcpSocket: { port: 81 }, periodSeconds: 1 }
          {{- else }}
          ports: [{ containerPort: 80 }]
          {{- end }}
`,
  "templates/service.yaml": `
apiVersion: v1
kind: Service
metadata: { name: {{ .Release.Name }} }
spec: { selector: { app: {{ .Release.Name }} }, ports: [{ port: 80 }] }
`,
  "templates/prepare.yaml": `
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .Release.Name }}-prepare
  annotations: { helm.sh/hook: "pre-install,pre-upgrade", helm.sh/hook-delete-policy: "before-hook-creation,hook-succeeded" }
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{ name: prepare, image: busybox, command: [sh, -c, "echo prepared revision {{ .Release.Revision }}"] }]
`,
  "templates/announce.yaml": `
apiVersion: v1
kind: Pod
metadata:
  name: {{ .Release.Name }}-announce
  annotations: { helm.sh/hook: "post-install", helm.sh/hook-weight: "2", helm.sh/hook-delete-policy: before-hook-creation }
spec:
  restartPolicy: Never
  containers: [{ name: announce, image: busybox, command: [sh, -c, "echo installed {{ .Release.Name }}"] }]
`,
  "templates/tests/reach.yaml": `
apiVersion: v1
kind: Pod
metadata: { name: {{ .Release.Name }}-reach, annotations: { helm.sh/hook: test } }
spec:
  restartPolicy: Never
  containers: [{ name: reach, image: busybox, command: [getent, hosts, {{ .Release.Name }}] }]
`,
  "charts/store/Chart.yaml": "\napiVersion: v2\nname: store\nversion: 0.1.0\n",
  "charts/store/values.yaml": "\nsize: 9\n",
  "charts/store/templates/config.yaml": `
apiVersion: v1
kind: ConfigMap
metadata: { name: {{ .Release.Name }}-store }
data: { size: "{{ .Values.size }}", of: {{ .Chart.Name }} }
`,
};

/** Writes the chart into a directory, and gives its path. */
export function writeChart(directory: string): string {
  const chart = join(directory, "harbour");
  for (const [name, text] of Object.entries(FILES)) {
    mkdirSync(dirname(join(chart, name)), { recursive: true });
    writeFileSync(join(chart, name), text.trimStart());
  }
  return chart;
}
