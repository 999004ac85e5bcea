// The directive kubernetes: kubernetes [ZONES…] { options }
import { networkInterfaces } from "node:os";
import { resolve } from "node:path";
import type { ClusterSource } from "../../../cluster/index.ts";
import {
  argument,
  CorefileError,
  choice,
  type Directive,
  duration,
  expectArgs,
  integer,
  onlyOnce,
  unknownOption,
  zonesOrBlock,
} from "../../corefile/index.ts";
import type { Name } from "../../message.ts";
import type { Installed, Plugin, Site } from "../../plugin.ts";
import { isReverse, type ZoneOptions } from "./answers.ts";
import { directoryOf } from "./directory.ts";
import { createKubernetes, type KubernetesHandler } from "./kubernetes.ts";
import { labelTest } from "./labels.ts";
import { type OwnSource, openOwnSource } from "./own-source.ts";

interface Settings {
  zone: ZoneOptions;
  fallthrough: readonly Name[];
  startupMilliseconds: number;
  /** Opens a source of the directive's own instead of the server's. */
  open?: () => OwnSource;
}

type Change = (settings: Settings, option: Directive, site: Site) => void;

/** Settings of CoreDNS's API client; ours asks once and then watches. */
const accepted: Change = (_settings, option) => void expectArgs(option, 1);

const OPTIONS: Readonly<Record<string, Change>> = {
  pods: (settings, option) => {
    const [mode] = expectArgs(option, 1) as [Directive["args"][number]];
    settings.zone = { ...settings.zone, pods: choice(mode, ["disabled", "insecure", "verified"]) };
  },
  ttl: (settings, option) => {
    expectArgs(option, 1);
    settings.zone = { ...settings.zone, ttl: integer(argument(option, 0), 0, 3600) };
  },
  endpoint_pod_names: (settings, option) => {
    expectArgs(option, 0);
    settings.zone = { ...settings.zone, endpointPodNames: true };
  },
  noendpoints: (settings, option) => {
    expectArgs(option, 0);
    settings.zone = { ...settings.zone, endpoints: false };
  },
  namespaces: (settings, option) => {
    const names = expectArgs(option, 1, Number.POSITIVE_INFINITY).map(({ text }) => text);
    settings.zone = { ...settings.zone, namespaces: new Set([...(settings.zone.namespaces ?? []), ...names]) };
  },
  labels: (settings, option) => {
    settings.zone = { ...settings.zone, labels: labelTest(option) };
  },
  namespace_labels: (settings, option) => {
    settings.zone = { ...settings.zone, namespaceLabels: labelTest(option) };
  },
  ignore: (settings, option) => {
    expectArgs(option, 1);
    choice(argument(option, 0), ["empty_service"]);
    settings.zone = { ...settings.zone, ignoreEmpty: true };
  },
  fallthrough: (settings, option) => {
    settings.fallthrough = zonesOrBlock(option.args, ["."]);
  },
  startup_timeout: (settings, option) => {
    expectArgs(option, 1);
    settings.startupMilliseconds = duration(argument(option, 0));
  },
  kubeconfig: (settings, option, site) => {
    const [file, context] = expectArgs(option, 1, 2);
    const path = resolve(site.host.path ?? "Corefile", "..", file?.text ?? "");
    settings.open = () => openOwnSource({ path, context: context?.text }, problemOf(site));
  },
  apiserver_qps: accepted,
  apiserver_burst: accepted,
  apiserver_max_inflight: accepted,
};

export const kubernetes: Plugin = {
  name: "kubernetes",
  setup(directives, site) {
    const directive = onlyOnce(directives);
    const settings = readSettings(directive, site);
    if (!settings.open && !site.host.source) settings.open = () => openOwnSource(undefined, problemOf(site));
    return install(settings, site);
  },
};

function readSettings(directive: Directive, site: Site): Settings {
  const zones = zonesOrBlock(directive.args, site.zones);
  const domain = zones.find((zone) => !isReverse(zone));
  if (domain === undefined)
    throw new CorefileError(directive.place, "kubernetes has reverse zones only", "name the cluster's domain too, such as cluster.local");
  const settings: Settings = {
    zone: {
      zones,
      domain,
      ttl: 5,
      pods: "disabled",
      endpointPodNames: false,
      endpoints: true,
      ignoreEmpty: false,
      namespaces: undefined,
      namespaceLabels: undefined,
      labels: undefined,
      own: ownAddresses(),
    },
    fallthrough: [],
    startupMilliseconds: 5000,
  };
  for (const option of directive.body ?? []) {
    if (["endpoint", "tls"].includes(option.name))
      throw new CorefileError(option.place, `kubernetes has no option "${option.name}" here`, "name a kubeconfig file instead");
    if (["multicluster", "zonal", "transfer"].includes(option.name))
      throw new CorefileError(option.place, `"${option.name}" is not here`, "take the line away");
    const change = Object.hasOwn(OPTIONS, option.name) ? OPTIONS[option.name] : undefined;
    if (!change) throw unknownOption("kubernetes", option, Object.keys(OPTIONS));
    change(settings, option, site);
  }
  return settings;
}

function problemOf(site: Site): (message: string) => void {
  return (message) => site.host.log("warning", "kubernetes", message);
}

/** The handler's directory is there from `start` to `stop`. */
function install(settings: Settings, site: Site): Installed {
  let source: ClusterSource | undefined;
  let own: OwnSource | undefined;
  let held: ReturnType<typeof directoryOf> | undefined;
  let handler: KubernetesHandler | undefined;
  let unsubscribe = () => {};
  const synced = () => source?.synced ?? false;
  return {
    handler: (next) => {
      const directory = () => {
        if (!held) throw new Error("kubernetes was not started");
        return held.directory;
      };
      handler = createKubernetes({ ...settings, directory, synced, resolve: site.host.resolve }, next);
      return handler;
    },
    start: async () => {
      own = settings.open?.();
      source = own?.source ?? site.host.source;
      if (!source) return;
      held = directoryOf(source);
      unsubscribe = held.directory.onChange(() => handler?.changed());
      await until(synced, settings.startupMilliseconds);
      if (!synced()) site.host.log("warning", "kubernetes", "starting before the cluster's objects have been read");
    },
    ready: synced,
    stop: () => {
      unsubscribe();
      held?.release();
      own?.release();
    },
    searchPath: (query) => handler?.searchPath(query),
  };
}

async function until(condition: () => boolean, milliseconds: number): Promise<void> {
  const end = performance.now() + milliseconds;
  while (!condition() && performance.now() < end) await new Promise((done) => setTimeout(done, 5));
}

function ownAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((addresses) =>
    (addresses ?? []).filter(({ internal, scopeid }) => !internal && !scopeid).map(({ address }) => address),
  );
}
