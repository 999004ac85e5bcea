// The directive forward: forward FROM TO… { options }
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import type { ConnectionOptions } from "node:tls";
import { messageOf, tryParseAddress } from "../../../base/index.ts";
import {
  type Argument,
  argument,
  CorefileError,
  choice,
  type Directive,
  duration,
  expectArgs,
  hostPortText,
  integer,
  unknownOption,
  zonesOrBlock,
} from "../../corefile/index.ts";
import type { Peer } from "../../exchange/exchange.ts";
import { UdpPool } from "../../exchange/udp-pool.ts";
import { RCODE } from "../../message.ts";
import type { Plugin, Site } from "../../plugin.ts";
import type { Handler } from "../../query.ts";
import { toName } from "../../wire/names.ts";
import { createForward, type ForwardOptions } from "./forward.ts";
import { type HealthOptions, Upstream } from "./upstream.ts";

interface Target {
  readonly peer: Peer;
  readonly secure: boolean;
  readonly serverName?: string | undefined;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

interface Settings {
  readonly options: Mutable<ForwardOptions>;
  readonly health: Mutable<HealthOptions>;
  readonly tls: Mutable<Pick<ConnectionOptions, "ca" | "cert" | "key" | "servername">>;
  expire: number;
}

const MAX_UPSTREAMS = 15;
/** Queries at work where the directive sets no limit: what stays of a flood is bounded. */
const DEFAULT_CONCURRENT = 4096;

type Change = (settings: Settings, option: Directive, site: Site) => void;

const flag =
  (set: (settings: Settings) => void): Change =>
  (settings, option) => {
    expectArgs(option, 0);
    set(settings);
  };

const one =
  (set: (settings: Settings, value: Argument) => void): Change =>
  (settings, option) => {
    expectArgs(option, 1);
    set(settings, argument(option, 0));
  };

const OPTIONS: Readonly<Record<string, Change>> = {
  except: ({ options }, option) => {
    expectArgs(option, 1, Number.POSITIVE_INFINITY);
    options.except = [...options.except, ...zonesOrBlock(option.args, [])];
  },
  policy: one(({ options }, value) => {
    options.policy = choice(value, ["random", "round_robin", "sequential"]);
  }),
  force_tcp: flag(({ options }) => {
    options.forceTcp = true;
  }),
  prefer_udp: flag(({ options }) => {
    options.preferUdp = true;
  }),
  max_fails: one(({ health }, value) => {
    health.maxFails = integer(value);
  }),
  max_concurrent: one(({ options }, value) => {
    options.maxConcurrent = integer(value) || DEFAULT_CONCURRENT;
  }),
  max_connect_attempts: one(({ options }, value) => {
    options.maxAttempts = integer(value);
  }),
  expire: one((settings, value) => {
    settings.expire = duration(value, 1000);
  }),
  read_timeout: one(({ options }, value) => {
    options.readTimeout = duration(value, 1);
  }),
  // Connections are few and end when they are idle.
  max_idle_conns: one((_settings, value) => void integer(value)),
  max_age: one((_settings, value) => void duration(value)),
  health_check: (settings, option) => readHealthCheck(settings.health, option),
  tls: (settings, option, site) => readTls(settings.tls, option, site),
  tls_servername: one(({ tls }, value) => {
    tls.servername = value.text;
  }),
  next: ({ options }, option) => {
    options.next = rcodes(option);
  },
  next_on_nodata: flag(({ options }) => {
    options.nextOnNodata = true;
  }),
  failover: ({ options }, option) => {
    options.failover = rcodes(option);
  },
  failfast_all_unhealthy_upstreams: flag(({ options }) => {
    options.failFast = true;
  }),
};

export const forward: Plugin = {
  name: "forward",
  setup(directives, site) {
    const each = directives.map((directive) => setUpOne(directive, site));
    return {
      handler: (next) => each.reduceRight<Handler>((after, { handler }) => handler(after), next),
      start: () => {
        for (const { start } of each) start();
      },
      stop: () => {
        for (const { stop } of each) stop();
      },
    };
  },
};

function setUpOne(directive: Directive, site: Site): { handler(next: Handler): Handler; start(): void; stop(): void } {
  const [from, ...to] = expectArgs(directive, 2, Number.POSITIVE_INFINITY);
  const [zone = "."] = zonesOrBlock(from ? [from] : [], ["."]);
  const targets = to.flatMap((each) => readTargets(each, site));
  if (targets.length > MAX_UPSTREAMS)
    throw new CorefileError(directive.place, `${targets.length} upstreams`, `name at most ${MAX_UPSTREAMS}`);
  const settings = defaults(zone, targets.length);
  for (const option of directive.body ?? []) {
    const change = Object.hasOwn(OPTIONS, option.name) ? OPTIONS[option.name] : undefined;
    if (!change) throw unknownOption("forward", option, Object.keys(OPTIONS));
    change(settings, option, site);
  }
  if (settings.tls.servername !== undefined && targets.some(({ serverName }) => serverName !== undefined))
    throw new CorefileError(
      directive.place,
      "server names stand both in tls_servername and behind %",
      "write them in one of the two places",
    );
  return running(settings, targets, site);
}

function defaults(from: string, upstreams: number): Settings {
  return {
    options: {
      from,
      except: [],
      policy: "random",
      forceTcp: false,
      preferUdp: false,
      readTimeout: 2000,
      maxConcurrent: DEFAULT_CONCURRENT,
      maxAttempts: upstreams * 2,
      failFast: false,
      failover: [],
      next: [],
      nextOnNodata: false,
    },
    health: { interval: 500, recursionDesired: true, domain: ".", maxFails: 2 },
    tls: {},
    expire: 10_000,
  };
}

function running({ options, health, tls, expire }: Settings, targets: readonly Target[], { host }: Site) {
  const { network, metrics, now, random } = host;
  const udp = new UdpPool({ network, now, expire });
  let upstreams: readonly Upstream[] = [];
  const broken = metrics.counter(
    "coredns_forward_healthcheck_broken_total",
    "Counter of the number of complete failures of the healthchecks.",
    [],
  );
  const rejected = metrics.counter(
    "coredns_forward_max_concurrent_rejects_total",
    "Counter of the number of queries rejected because the concurrent queries were at maximum.",
    [],
  );
  const tools = {
    upstreams: () => upstreams,
    now,
    random,
    allDown: () => broken.with().inc(),
    tooMany: () => rejected.with().inc(),
  };
  return {
    handler: (next: Handler) => createForward(options, tools, next),
    start: () => {
      upstreams = targets.map(({ peer, secure, serverName }) => {
        const name = serverName ?? tls.servername;
        const secured = secure
          ? { ...tls, minVersion: "TLSv1.2" as const, ...(name === undefined ? {} : { servername: name }) }
          : undefined;
        return new Upstream({ network, udp, metrics, now, peer, tls: secured, expire, health });
      });
    },
    stop: () => {
      for (const upstream of upstreams) upstream.close();
      udp.close();
    },
  };
}

/** An upstream, or those of a file like /etc/resolv.conf. */
function readTargets(word: Argument, { host }: Site): Target[] {
  const { text, place } = word;
  const [, scheme, rest = ""] = /^(?:([a-z0-9+]+):\/\/)?(.*)$/.exec(text) ?? [];
  if (scheme !== undefined && scheme !== "dns" && scheme !== "tls")
    throw new CorefileError(place, `upstreams cannot be asked by ${scheme}:// here`, "use dns:// or tls://");
  const target = readTarget(rest, scheme === "tls");
  if (target) return [target];
  const path = resolve(host.path === undefined ? "." : dirname(host.path), text);
  let content: string;
  try {
    content = readFileSync(path, "utf8");
  } catch (error) {
    const remedy =
      "write an address like 10.112.0.1, 10.112.0.1:53, [fd00::1]:53 or tls://9.9.9.9%dns.quad9.net, or a file like /etc/resolv.conf";
    throw new CorefileError(place, `"${text}" is neither an address nor a file that can be read (${messageOf(error)})`, remedy);
  }
  const servers = [...content.matchAll(/^\s*nameserver\s+(\S+)/gm)].flatMap(
    ([, server = ""]) => readTarget(server.replace(/%.*/, ""), false) ?? [],
  );
  if (servers.length === 0) throw new CorefileError(place, `${path} has no nameserver line`, "name an upstream's address");
  return servers;
}

/** ADDRESS, ADDRESS:PORT, [ADDRESS]:PORT, with %SERVERNAME behind the address for TLS. */
function readTarget(text: string, secure: boolean): Target | undefined {
  const [, bracketed, plain, name, port] = /^(?:\[([^\]%]+)\]|([^%[\]]+?))(?:%([^:\]]+))?(?::(\d{1,5}))?$/.exec(text) ?? [];
  const whole = tryParseAddress(text) ? text : undefined;
  const address = whole ?? bracketed ?? plain ?? "";
  if (!tryParseAddress(address)) return undefined;
  const number = whole === undefined && port !== undefined ? Number(port) : secure ? 853 : 53;
  if (number > 65_535) return undefined;
  return { peer: { address, port: number, text: hostPortText({ address, port: number }) }, secure, serverName: name };
}

function readHealthCheck(health: Mutable<HealthOptions>, option: Directive): void {
  health.interval = duration(argument(option, 0), 1);
  for (let index = 1; index < option.args.length; index++) {
    const word = choice(argument(option, index), ["no_rec", "domain"]);
    if (word === "no_rec") health.recursionDesired = false;
    else {
      index++;
      const domain = toName(argument(option, index).text);
      if (domain === undefined) throw new CorefileError(argument(option, index).place, "this is no name");
      health.domain = domain;
    }
  }
}

function readTls(tls: Settings["tls"], option: Directive, { host }: Site): void {
  const files = expectArgs(option, 0, 3).map(({ text, place }) => {
    try {
      return readFileSync(resolve(host.path === undefined ? "." : dirname(host.path), text));
    } catch (error) {
      throw new CorefileError(place, `the file cannot be read: ${messageOf(error)}`);
    }
  });
  const [first, second, third] = files;
  if (files.length === 1 && first) tls.ca = first;
  if (files.length > 1 && first && second) {
    tls.cert = first;
    tls.key = second;
  }
  if (third) tls.ca = third;
}

function rcodes(option: Directive): number[] {
  return expectArgs(option, 1, Number.POSITIVE_INFINITY).map(({ text, place }) => {
    const code = Object.entries(RCODE).find(([name]) => name === text.toUpperCase())?.[1];
    if (code === undefined) throw new CorefileError(place, `"${text}" is no rcode`, `write one of ${Object.keys(RCODE).join(", ")}`);
    return code;
  });
}
