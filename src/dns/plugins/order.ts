// Every plugin, in the one order in which they stand in a chain, whatever the Corefile's order is. It is CoreDNS's own.
// To add one: its folder, and its line here.
import type { Plugin } from "../plugin.ts";
import { acl } from "./acl/setup.ts";
import { any } from "./any/setup.ts";
import { auto } from "./auto/setup.ts";
import { autopath } from "./autopath/setup.ts";
import { bind } from "./bind/setup.ts";
import { bufsize } from "./bufsize/setup.ts";
import { cache } from "./cache/setup.ts";
import { chaos } from "./chaos/setup.ts";
import { dns64 } from "./dns64/setup.ts";
import { errors } from "./errors/setup.ts";
import { file } from "./file/setup.ts";
import { forward } from "./forward/setup.ts";
import { header } from "./header/setup.ts";
import { health } from "./health/setup.ts";
import { hosts } from "./hosts/setup.ts";
import { kubernetes } from "./kubernetes/setup.ts";
import { loadbalance } from "./loadbalance/setup.ts";
import { log } from "./log/setup.ts";
import { loop } from "./loop/setup.ts";
import { minimal } from "./minimal/setup.ts";
import { nsid } from "./nsid/setup.ts";
import { prometheus } from "./prometheus/setup.ts";
import { ready } from "./ready/setup.ts";
import { reload } from "./reload/setup.ts";
import { rewrite } from "./rewrite/setup.ts";
import { template } from "./template/setup.ts";
import { view } from "./view/setup.ts";
import { whoami } from "./whoami/setup.ts";

export const PLUGINS: readonly Plugin[] = [
  reload,
  nsid,
  bufsize,
  bind,
  ready,
  health,
  prometheus,
  errors,
  log,
  dns64,
  acl,
  any,
  chaos,
  loadbalance,
  cache,
  rewrite,
  header,
  autopath,
  minimal,
  template,
  hosts,
  kubernetes,
  file,
  auto,
  loop,
  forward,
  whoami,
  view,
];

/** CoreDNS has these too, and Fairlead does not: a Corefile with one of them is refused with what to do instead. */
export const ABSENT: Readonly<Record<string, string>> = {
  metadata: "nothing here needs it; take the line away",
  geoip: "it is not here",
  cancel: "upstreams have time limits of their own; take the line away",
  proxyproto: "it is not here",
  tls: "serve plain DNS and put what ends TLS before it",
  quic: "serve plain DNS and put what ends QUIC before it",
  grpc_server: "serve plain DNS",
  https: "serve plain DNS and put what ends HTTPS before it",
  https3: "serve plain DNS and put what ends HTTP/3 before it",
  timeouts: "TCP connections that are idle for 10 s are closed; take the line away",
  multisocket: "one socket serves as much as one thread can answer; take the line away",
  debug: "take the line away; errors are always told whole",
  trace: "use the plugin log, or fairlead dns query",
  pprof: "use node --cpu-prof",
  shed: "too many queries are always refused; take the line away",
  dnstap: "use the plugin log",
  local: "it is not here; template can answer those names",
  siit: "it is not here",
  tsig: "it is not here",
  dnssec: "it is not here: answers are not signed",
  transfer: "zones are not transferred",
  dynupdate: "zones are changed in their files",
  route53: "use file or forward",
  azure: "use file or forward",
  clouddns: "use file or forward",
  k8s_external: "it is not here",
  secondary: "use file or forward",
  etcd: "use kubernetes, file or hosts",
  grpc: "use forward",
  erratic: "it is not here",
  on: "it is not here",
  sign: "it is not here: answers are not signed",
  nomad: "it is not here",
};
