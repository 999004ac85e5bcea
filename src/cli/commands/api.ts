// fairlead api: the embedded Kubernetes API server with its controllers, alone on this machine.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import { openClusterStore, startApiServer, startControllers } from "../../api/index.ts";
import { addressAt, formatAddress, parsePrefix } from "../../base/index.ts";
import type { Service } from "../../resources/index.ts";
import { stopped } from "../signals.ts";

interface ApiFlags {
  readonly data: string;
  readonly listen: { readonly host: string; readonly port: number };
  readonly podCidr: readonly string[];
  readonly serviceCidr: string;
}

const SERVICES = { group: "", version: "v1", plural: "services" } as const;

export function command(command: Command): void {
  command
    .option("--data <directory>", "where objects, keys and the kubeconfig are kept", "fairlead-api")
    .option("--listen <address:port>", "where it serves; port 0 for any that is free", listenAddress, { host: "127.0.0.1", port: 6443 })
    .option("--pod-cidr <ranges>", "range of the pods' addresses, given out to nodes; none: nodes get them from elsewhere", ranges, [
      "10.244.0.0/16",
      "fd00:10:244::/48",
    ])
    .option("--service-cidr <ranges>", "range of the Services' addresses", "10.96.0.0/12,fd00:10:96::/112")
    .addHelpText(
      "after",
      `
Runs until SIGTERM or Ctrl-C; started again with the same directory it goes on where it was.

Examples:
  fairlead api --data /var/lib/fairlead-api
  KUBECONFIG=/var/lib/fairlead-api/kubeconfig kubectl get namespaces
`,
    )
    .action(async (flags: ApiFlags) => {
      mkdirSync(flags.data, { recursive: true, mode: 0o700 });
      const serviceCidrs = flags.serviceCidr.split(",");
      const store = openClusterStore({ path: join(flags.data, "api.db"), serviceCidrs });
      const address = formatAddress(addressAt(parsePrefix(serviceCidrs[0] ?? ""), 1n));
      const log = (message: string) => void process.stderr.write(`${new Date().toISOString()} ${message}\n`);
      const serving = startApiServer({
        store,
        listen: flags.listen,
        names: [flags.listen.host, address, "kubernetes.default", "kubernetes.default.svc.cluster.local"],
        identityFile: join(flags.data, "identity.json"),
      });
      const controllers = startControllers({ store, podCidrs: flags.podCidr, nodeMask: { 4: 24, 6: 64 }, log, serving });
      // As every API server makes it; who has a way for pods to here gives it end points.
      if (!store.get(SERVICES, "default", "kubernetes")) store.create(SERVICES, apiService(address));
      const server = await serving;
      const kubeconfig = join(flags.data, "kubeconfig");
      writeFileSync(kubeconfig, server.kubeconfig("fairlead"), { mode: 0o600 });
      process.stdout.write(`serving ${server.url}  KUBECONFIG=${kubeconfig}\n`);
      await stopped("api");
      controllers.close();
      await server.close();
      store.close();
    });
}

const ranges = (text: string): string[] => (text === "none" ? [] : text.split(","));

function apiService(clusterIP: string): Service {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "kubernetes", namespace: "default", labels: { component: "apiserver", provider: "kubernetes" } },
    spec: { clusterIP, ports: [{ name: "https", port: 443, protocol: "TCP", targetPort: 6443 }] },
  };
}

function listenAddress(text: string): ApiFlags["listen"] {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  if (!match || Number(match[3]) > 65_535) throw new InvalidArgumentError("write it like 127.0.0.1:6443 or [::1]:6443");
  return { host: match[1] ?? match[2] ?? "", port: Number(match[3]) };
}
