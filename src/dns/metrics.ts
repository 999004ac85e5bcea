// Counters, gauges and histograms under CoreDNS's names, cheap enough for every query: a child is looked up once and kept.

export interface Counter {
  inc(by?: number): void;
}

interface Gauge {
  set(value: number): void;
  inc(by?: number): void;
}

export interface Histogram {
  observe(value: number): void;
}

/** One metric and its children, a child for each combination of label values. */
export interface Family<Child> {
  /** The child for these label values, in the order of the label names; made at the first call. */
  with(...values: readonly string[]): Child;
}

/** Gauges whose value may be measured when it is asked for. */
interface GaugeFamily extends Family<Gauge> {
  /** From now on the child's value is what `read` gives. */
  measure(values: readonly string[], read: () => number): void;
}

export interface MetricRegistry {
  counter(name: string, help: string, labels: readonly string[]): Family<Counter>;
  gauge(name: string, help: string, labels: readonly string[]): GaugeFamily;
  histogram(name: string, help: string, labels: readonly string[], buckets: readonly number[]): Family<Histogram>;
  /** Prometheus' text format. */
  print(): string;
}

/** Upper bounds in seconds: a quarter of a millisecond, doubled fifteen times. */
export const TIME_BUCKETS: readonly number[] = Array.from({ length: 16 }, (_, index) => 0.00025 * 2 ** index);

type Sample = { readonly suffix: string; readonly labels: string; readonly value: number };
interface Child {
  samples(labels: string): Sample[];
}

/** An empty registry. Asked twice for a name, it gives the same metric. */
export function createMetrics(): MetricRegistry {
  const metrics = new Map<string, Metric<Child>>();
  const family = <C extends Child>(name: string, help: string, kind: string, labels: readonly string[], make: () => C): Family<C> => {
    let metric = metrics.get(name);
    if (!metric) {
      metric = new Metric<Child>({ name, help, kind, labels, make });
      metrics.set(name, metric);
    }
    return metric as unknown as Family<C>;
  };
  return {
    counter: (name, help, labels) => family(name, help, "counter", labels, () => new Value()),
    gauge: (name, help, labels) => {
      const values = family(name, help, "gauge", labels, () => new Value());
      const measure = (of: readonly string[], read: () => number) => {
        values.with(...of).read = read;
      };
      return { with: (...of) => values.with(...of), measure };
    },
    histogram: (name, help, labels, buckets) => family(name, help, "histogram", labels, () => new Buckets(buckets)),
    print: () => [...metrics.values()].map((metric) => metric.print()).join(""),
  };
}

interface MetricOptions<C> {
  readonly name: string;
  readonly help: string;
  readonly kind: string;
  readonly labels: readonly string[];
  readonly make: () => C;
}

class Metric<C extends Child> implements Family<C> {
  readonly #options: MetricOptions<C>;
  readonly #children = new Map<string, C>();

  constructor(options: MetricOptions<C>) {
    this.#options = options;
  }

  with(...values: readonly string[]): C {
    const { labels, make } = this.#options;
    const key = labels.map((label, index) => `${label}="${escaped(values[index] ?? "")}"`).join(",");
    let child = this.#children.get(key);
    if (!child) {
      child = make();
      this.#children.set(key, child);
    }
    return child;
  }

  print(): string {
    const { name, help, kind } = this.#options;
    let text = `# HELP ${name} ${help}\n# TYPE ${name} ${kind}\n`;
    for (const [labels, child] of this.#children)
      for (const sample of child.samples(labels))
        text += `${name}${sample.suffix}${sample.labels === "" ? "" : `{${sample.labels}}`} ${sample.value}\n`;
    return text;
  }
}

class Value implements Counter, Gauge, Child {
  #value = 0;
  read = () => this.#value;

  inc(by = 1): void {
    this.#value += by;
  }

  set(value: number): void {
    this.#value = value;
  }

  samples(labels: string): Sample[] {
    return [{ suffix: "", labels, value: this.read() }];
  }
}

class Buckets implements Histogram, Child {
  readonly #bounds: readonly number[];
  readonly #counts: Float64Array;
  #sum = 0;

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.#counts = new Float64Array(bounds.length + 1);
  }

  observe(value: number): void {
    const bounds = this.#bounds;
    let index = 0;
    while (index < bounds.length && value > (bounds[index] ?? 0)) index++;
    this.#counts[index] = (this.#counts[index] ?? 0) + 1;
    this.#sum += value;
  }

  samples(labels: string): Sample[] {
    const comma = labels === "" ? "" : ",";
    let total = 0;
    const samples: Sample[] = [];
    for (const [index, count] of this.#counts.entries()) {
      total += count;
      samples.push({ suffix: "_bucket", labels: `${labels}${comma}le="${this.#bounds[index] ?? "+Inf"}"`, value: total });
    }
    return [...samples, { suffix: "_sum", labels, value: this.#sum }, { suffix: "_count", labels, value: total }];
  }
}

function escaped(value: string): string {
  return value.replace(/[\\"\n]/g, (character) => (character === "\n" ? "\\n" : `\\${character}`));
}
