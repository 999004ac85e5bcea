// One upstream server: how it is asked, and whether it is well.
import type { ConnectionOptions } from "node:tls";
import { ExchangeError, type Peer } from "../../exchange/exchange.ts";
import { StreamPool } from "../../exchange/stream.ts";
import type { UdpPool } from "../../exchange/udp-pool.ts";
import { type Message, rcodeName, TYPE } from "../../message.ts";
import { type Counter, type Histogram, type MetricRegistry, TIME_BUCKETS } from "../../metrics.ts";
import type { DnsNetwork } from "../../network.ts";
import { queryMessage } from "../../wire/codec.ts";

export interface UpstreamOptions {
  readonly network: DnsNetwork;
  readonly udp: UdpPool;
  readonly metrics: MetricRegistry;
  readonly now: () => number;
  readonly peer: Peer;
  readonly tls?: ConnectionOptions | undefined;
  readonly expire: number;
  readonly health: HealthOptions;
}

export interface HealthOptions {
  /** Milliseconds between checks while it is not well. */
  readonly interval: number;
  readonly recursionDesired: boolean;
  readonly domain: string;
  /** Failed checks after which it counts as down; 0: never. */
  readonly maxFails: number;
}

const CHECK_TIMEOUT = 1000;

export class Upstream {
  readonly peer: Peer;
  readonly secure: boolean;
  readonly #options: UpstreamOptions;
  readonly #stream: StreamPool;
  readonly #durations = new Map<number, Histogram>();
  readonly #failures: Counter;
  #fails = 0;
  #checking = false;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: UpstreamOptions) {
    const { network, peer, tls, expire, metrics } = options;
    this.#options = options;
    this.peer = peer;
    this.secure = tls !== undefined;
    this.#stream = new StreamPool({ network, peer, tls, expire });
    this.#failures = metrics
      .counter("coredns_proxy_healthcheck_failures_total", "Counter of the number of failed healthchecks.", ["proxy_name", "to"])
      .with("forward", peer.text);
  }

  get down(): boolean {
    const { maxFails } = this.#options.health;
    return maxFails > 0 && this.#fails >= maxFails;
  }

  /** The server's answer. @throws ExchangeError */
  async ask(query: Message, transport: "udp" | "tcp", timeout: number): Promise<Message> {
    const { now, udp } = this.#options;
    const start = now();
    const { answer, reused } =
      transport === "tcp" || this.secure ? await this.#stream.ask(query, timeout) : await udp.ask(this.peer, query, timeout);
    this.#duration(answer.rcode).observe((now() - start) / 1000);
    this.#count(reused, this.secure ? "tcp-tls" : transport);
    return answer;
  }

  #duration(rcode: number): Histogram {
    let histogram = this.#durations.get(rcode);
    if (!histogram) {
      const help = "Histogram of the time each request took.";
      const labels = ["proxy_name", "to", "rcode"];
      histogram = this.#options.metrics
        .histogram("coredns_proxy_request_duration_seconds", help, labels, TIME_BUCKETS)
        .with("forward", this.peer.text, rcodeName(rcode));
      this.#durations.set(rcode, histogram);
    }
    return histogram;
  }

  #count(reused: boolean, protocol: string): void {
    const kind = reused ? "hits" : "misses";
    const help = `Counter of connection cache ${kind} per upstream and protocol.`;
    this.#options.metrics
      .counter(`coredns_proxy_conn_cache_${kind}_total`, help, ["proxy_name", "to", "proto"])
      .with("forward", this.peer.text, protocol)
      .inc();
  }

  /** Checks it until it is well again. To be called when it failed to answer. */
  check(): void {
    if (this.#checking || this.#options.health.maxFails === 0 || this.#closed) return;
    this.#checking = true;
    void this.#checkOnce();
  }

  async #checkOnce(): Promise<void> {
    const { domain, recursionDesired, interval } = this.#options.health;
    const query = queryMessage({ name: domain, type: TYPE.NS }, { recursionDesired });
    try {
      // Whatever it answers, it answers.
      await this.ask(query, "udp", CHECK_TIMEOUT);
      this.#fails = 0;
      this.#checking = false;
    } catch (error) {
      if (!(error instanceof ExchangeError)) throw error;
      this.#fails++;
      this.#failures.inc();
      if (this.#closed) return;
      this.#timer = setTimeout(() => void this.#checkOnce(), interval);
      this.#timer.unref();
    }
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#stream.close();
  }
}
