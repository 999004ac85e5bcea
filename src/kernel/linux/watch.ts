// Events of all watched namespaces: multicast sockets, and one epoll wait per process that wakes the main thread.
//
//   kernel ──▶ multicast socket ─┐
//   kernel ──▶ multicast socket ─┼─▶ epoll_wait (a pool thread) ──▶ drain ──▶ topics ──▶ callbacks, coalesced
//   unwatch, exit ──▶ eventfd ───┘
import { closeSync, readFileSync, readSync, writeSync } from "node:fs";
import type { WatchTopic } from "../kernel.ts";
import { ANNOUNCERS, type Announcement, announcementOf, type Multicast, tableTopic } from "../netlink/event.ts";
import { decodeMessages } from "../netlink/message.ts";
import { C, call, errno, type LibcFunction, libc, setOption } from "./libc.ts";
import { openNetlink } from "./socket.ts";

const ENOBUFS = 105;
const RECEIVE_BUFFER = 4 * 1024 * 1024;
const COALESCE_MS = 5;
/** The wait is bounded so that a lost wake-up cannot hold up the process's end. */
const WAIT_MS = 1000;
const EVENTS = 64;
/** struct epoll_event is packed on x86-64 only. */
const EVENT_SIZE = process.arch === "x64" ? 12 : 16;
const DATA_OFFSET = EVENT_SIZE - 8;
const BUFFER = Buffer.alloc(64 * 1024);

interface Watcher {
  readonly topics: ReadonlySet<WatchTopic>;
  readonly onChange: (topic: WatchTopic) => void;
  readonly pending: Set<WatchTopic>;
  timer?: NodeJS.Timeout;
}

/** What an own action may stir up without the kernel naming its causer: events about these links, or of these topics. */
export interface Echo {
  readonly links: ReadonlySet<number>;
  readonly topics: ReadonlySet<WatchTopic>;
}

/** The watchers of one namespace handle. `isOwn` tells the port ids of the handle's sockets; `onGone` hears of links that have gone. */
export class NamespaceEvents {
  readonly #run: <T>(action: () => T) => T;
  readonly #isOwn: (port: number) => boolean;
  readonly #onGone: (link: number) => void;
  readonly #watchers = new Set<Watcher>();
  /** What the actions under way may stir up, while several are taken together. */
  #batch: { readonly links: Set<number>; readonly topics: Set<WatchTopic> } | undefined;
  /** What was last said of each object. */
  readonly #known = new Map<string, string>();
  /** Kinds of tables that the transaction under way has changed. */
  readonly #touched = new Set<"nft" | "iptables">();
  readonly #sockets = new Map<Multicast, { readonly fd: number; readonly groups: Set<number> }>();

  constructor(run: <T>(action: () => T) => T, isOwn: (port: number) => boolean, onGone: (link: number) => void) {
    this.#run = run;
    this.#isOwn = isOwn;
    this.#onGone = onGone;
  }

  watch(topics: readonly WatchTopic[], onChange: (topic: WatchTopic) => void): () => void {
    const watcher: Watcher = { topics: new Set(topics), onChange, pending: new Set() };
    this.#run(() => {
      for (const topic of topics) this.#listen(topic);
    });
    this.#watchers.add(watcher);
    return () => {
      clearTimeout(watcher.timer);
      if (this.#watchers.delete(watcher) && this.#watchers.size === 0) this.#closeSockets();
    };
  }

  /** Carries out an own action such that its echoes do not count. `echo` is asked after the action. */
  quietly<T>(action: () => T, echo: () => Echo): T {
    if (this.#watchers.size === 0) return action();
    const batch = this.#batch;
    if (batch) {
      try {
        return action();
      } finally {
        const { links, topics } = echo();
        for (const link of links) batch.links.add(link);
        for (const topic of topics) batch.topics.add(topic);
      }
    }
    this.#drainAll(undefined);
    try {
      return action();
    } finally {
      this.#drainAll(echo());
    }
  }

  /** Carries out many own actions with one look at the events before and after. */
  together<T>(actions: () => T): T {
    if (this.#batch) return actions();
    const batch = { links: new Set<number>(), topics: new Set<WatchTopic>() };
    return this.quietly(
      () => {
        this.#batch = batch;
        try {
          return actions();
        } finally {
          this.#batch = undefined;
        }
      },
      () => batch,
    );
  }

  close(): void {
    for (const watcher of this.#watchers) clearTimeout(watcher.timer);
    this.#watchers.clear();
    this.#closeSockets();
  }

  #listen(topic: WatchTopic): void {
    const { multicast, groups } = ANNOUNCERS[topic];
    let socket = this.#sockets.get(multicast);
    if (!socket) {
      const { fd } = openNetlink(multicast);
      if (!setOption(fd, C.SOL_SOCKET, C.SO_RCVBUFFORCE, RECEIVE_BUFFER)) setOption(fd, C.SOL_SOCKET, C.SO_RCVBUF, RECEIVE_BUFFER);
      socket = { fd, groups: new Set() };
      this.#sockets.set(multicast, socket);
      eventLoop().add(fd, () => this.#drain(multicast, fd, undefined));
    }
    for (const group of groups) {
      if (socket.groups.has(group)) continue;
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32LE(group);
      call("setsockopt", [socket.fd, C.SOL_NETLINK, C.NETLINK_ADD_MEMBERSHIP, bytes, 4], { operation: `watch ${topic} events` });
      socket.groups.add(group);
    }
  }

  #drainAll(echo: Echo | undefined): void {
    for (const [multicast, { fd }] of this.#sockets) this.#drain(multicast, fd, echo);
  }

  #drain(multicast: Multicast, fd: number, echo: Echo | undefined): void {
    for (;;) {
      const length = Number(libc("recv")(fd, BUFFER, BUFFER.length, C.MSG_DONTWAIT));
      if (length < 0) {
        // Events were lost: anything may have changed.
        if (errno() !== ENOBUFS) return;
        for (const watcher of this.#watchers) for (const topic of watcher.topics) this.#notify(watcher, topic);
        continue;
      }
      for (const message of decodeMessages(BUFFER.subarray(0, length))) {
        const table = multicast === 12 ? tableTopic(message) : undefined;
        if (table) this.#touched.add(table);
        const said = announcementOf(multicast, message);
        if (said?.gone) this.#onGone(said.link ?? 0);
        // What own actions brought about is remembered all the same.
        if (said && this.#isNews(said) && !this.#isEcho(said, message.port, echo)) this.#announceEach(said.topic);
        if (said?.topic === "nft") this.#touched.clear();
      }
    }
  }

  #isNews({ configuration }: Announcement): boolean {
    if (!configuration) return true;
    const { key, value } = configuration;
    if (value === undefined) {
      this.#known.delete(key);
      return true;
    }
    if (this.#known.get(key) === value) return false;
    this.#known.set(key, value);
    return true;
  }

  #isEcho(said: Announcement, port: number, echo: Echo | undefined): boolean {
    if (said.topic === "nft") return isOwnTransaction(said, echo !== undefined);
    if (port !== 0) return this.#isOwn(port);
    if (!echo) return false;
    return echo.topics.has(said.topic) || (said.link !== undefined && echo.links.has(said.link));
  }

  /** A transaction is of the tables that were told of before its end; of all, where none was. */
  #announceEach(topic: WatchTopic): void {
    if (topic !== "nft") this.#announce(topic);
    else for (const each of this.#touched.size === 0 ? (["nft", "iptables"] as const) : this.#touched) this.#announce(each);
  }

  #announce(topic: WatchTopic): void {
    for (const watcher of this.#watchers) if (watcher.topics.has(topic)) this.#notify(watcher, topic);
  }

  #notify(watcher: Watcher, topic: WatchTopic): void {
    watcher.pending.add(topic);
    watcher.timer ??= setTimeout(() => {
      delete watcher.timer;
      const topics = [...watcher.pending];
      watcher.pending.clear();
      for (const each of topics) if (this.#watchers.has(watcher)) watcher.onChange(each);
    }, COALESCE_MS);
  }

  #closeSockets(): void {
    for (const { fd } of this.#sockets.values()) {
      eventLoop().remove(fd);
      closeSync(fd);
    }
    this.#sockets.clear();
    this.#known.clear();
  }
}

/** Numbers under which the kernel announces this process's nft transactions. */
const ownProcessIds = new Set([process.pid]);
let ownName: string | undefined;

/** The kernel gives the number of the initial pid namespace. In another one it is learned: from a transaction of our name, seen while we made one. */
function isOwnTransaction(said: Announcement, acting: boolean): boolean {
  if (said.processId === undefined) return false;
  if (ownProcessIds.has(said.processId)) return true;
  // Programs of iptables that we run, and wait for.
  if (acting && /^ip6?tables-/.test(said.processName ?? "")) return true;
  ownName ??= readFileSync("/proc/thread-self/comm", "utf8").trimEnd();
  if (!acting || said.processName !== ownName) return false;
  ownProcessIds.add(said.processId);
  return true;
}

/**
 * The process's one wait. It runs, and keeps the process alive, only while there is something to wait for.
 *
 * What is waited for is known by a number of its own, not by its descriptor: between an event and its handler a descriptor may be closed,
 * and its number be another's, which would hear of what never happened to it.
 */
class EventLoop {
  readonly #epoll = call("epoll_create1", [C.EPOLL_CLOEXEC]);
  readonly #wake = call("eventfd", [0, C.EFD_CLOEXEC | C.EFD_NONBLOCK]);
  readonly #events = Buffer.alloc(EVENT_SIZE * EVENTS);
  readonly #handlers = new Map<number, () => void>();
  /** The number of each descriptor that is waited for. */
  readonly #numbers = new Map<number, number>();
  readonly #wait: LibcFunction = libc("epoll_wait");
  #last = 0;
  #running = false;

  constructor() {
    this.#control(C.EPOLL_CTL_ADD, this.#wake, WAKE);
    process.on("exit", () => this.#awake());
  }

  add(fd: number, handler: () => void): void {
    do this.#last = (this.#last + 1) | 0;
    while (this.#last === WAKE || this.#handlers.has(this.#last));
    this.#control(C.EPOLL_CTL_ADD, fd, this.#last);
    this.#numbers.set(fd, this.#last);
    this.#handlers.set(this.#last, handler);
    if (!this.#running) this.#next();
  }

  remove(fd: number): void {
    this.#control(C.EPOLL_CTL_DEL, fd, 0);
    this.#handlers.delete(this.#numbers.get(fd) ?? WAKE);
    this.#numbers.delete(fd);
    if (this.#handlers.size === 0) this.#awake();
  }

  #next(): void {
    this.#running = this.#handlers.size > 0;
    if (!this.#running) return;
    this.#wait.async(this.#epoll, this.#events, EVENTS, WAIT_MS, (_failure: unknown, count: number) => {
      // Which are ready must be read before a handler can start another wait.
      const ready = Array.from({ length: Math.max(0, count ?? 0) }, (_, i) => this.#events.readInt32LE(i * EVENT_SIZE + DATA_OFFSET));
      try {
        for (const number of ready) {
          if (number === WAKE) readSync(this.#wake, Buffer.alloc(8));
          else this.#handlers.get(number)?.();
        }
      } finally {
        this.#next();
      }
    });
  }

  #awake(): void {
    writeSync(this.#wake, Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]));
  }

  #control(operation: number, fd: number, number: number): void {
    const event = Buffer.alloc(EVENT_SIZE);
    event.writeUInt32LE(C.EPOLLIN, 0);
    event.writeInt32LE(number, DATA_OFFSET);
    call("epoll_ctl", [this.#epoll, operation, fd, event]);
  }
}

/** The number of the loop's own wake-up. */
const WAKE = 0;

let shared: EventLoop | undefined;

/** The process's one wait for descriptors that Node can't watch. */
export function eventLoop(): EventLoop {
  shared ??= new EventLoop();
  return shared;
}
