// Listens to the DNS answers of pods whose policies speak of names, and lets each pass once the node's sets hold what it tells.
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { messageOf } from "../base/index.ts";
import type { LoggedPacket, NetworkNamespace } from "../kernel/index.ts";
import { type NodePlan, TABLE } from "../plan/index.ts";
import { DNS_GROUP, DNS_HELD, DNS_PORT, DNS_WATCH, type DnsAnswers, nameMatches } from "../policy/index.ts";
import { readDnsAnswer, withUdpChecksum } from "./dns-answer.ts";
import { DnsBook } from "./dns-book.ts";

export interface DnsWatchOptions {
  readonly namespace: NetworkNamespace;
  readonly stateDirectory: string;
  /** What is known has changed: the sets are to hold it when this returns. */
  readonly changed: () => void;
  readonly log: (message: string) => void;
}

export interface DnsWatch {
  readonly answers: DnsAnswers;
  /** Also what has expired not long ago: a flow to it is not cut. */
  readonly ever: DnsAnswers;
  /** The kernel holds this plan now. */
  follow(plan: NodePlan): void;
  close(): void;
}

/** The kernel holds answers back for so long after the last beat, in seconds. */
const ALIVE_S = 5;
const BEAT_MS = 1500;
const SAVE_MS = 1000;
const COPIED_BYTES = 0xffff;
const FILE = "dns-answers.json";

export function createDnsWatch({ namespace, stateDirectory, changed, log }: DnsWatchOptions): DnsWatch {
  const book = new DnsBook();
  const file = join(stateDirectory, FILE);
  let patterns: readonly string[] = [];
  let stop: (() => void) | undefined;
  let beating: NodeJS.Timeout | undefined;
  let saving: NodeJS.Timeout | undefined;
  try {
    book.restore(JSON.parse(readFileSync(file, "utf8")), Date.now());
  } catch {
    // There is none yet, or it is damaged: names are asked for again.
  }

  function take({ prefix, bytes }: LoggedPacket): void {
    const answer = readDnsAnswer(bytes);
    if (answer && patterns.some((pattern) => nameMatches(pattern, answer.name)) && book.learn(answer, Date.now())) {
      changed();
      saving ??= setTimeout(save, SAVE_MS).unref();
    }
    if (prefix.trim() !== DNS_HELD) return;
    try {
      namespace.sendPacket(withUdpChecksum(bytes));
    } catch (error) {
      log(`a DNS answer could not be sent on: ${messageOf(error)}`);
    }
  }

  function save(): void {
    saving = undefined;
    try {
      writeFileSync(`${file}.new`, JSON.stringify(book), { mode: 0o600 });
      renameSync(`${file}.new`, file);
    } catch (error) {
      log(`DNS answers not saved: ${messageOf(error)}`);
    }
  }

  /** In one transaction: an element that is there already would keep its old time. */
  function beat(): void {
    if (book.expire(Date.now())) changed();
    const set = `${TABLE.family} ${TABLE.name} ${DNS_WATCH}`;
    try {
      namespace.nft.run(`flush set ${set}\nadd element ${set} { ${DNS_PORT} timeout ${ALIVE_S}s }\n`);
    } catch (error) {
      log(`DNS answers are not heard: ${messageOf(error)}`);
    }
  }

  function start(): void {
    try {
      stop = namespace.readPacketLog(DNS_GROUP, take, { bytes: COPIED_BYTES, atOnce: true });
    } catch (error) {
      log(`DNS answers are not heard, so names stay without addresses: ${messageOf(error)}`);
      return;
    }
    beating = setInterval(beat, BEAT_MS).unref();
    beat();
  }

  function end(): void {
    clearInterval(beating);
    stop?.();
    stop = undefined;
  }

  return {
    get answers() {
      return book.answers;
    },
    get ever() {
      return book.ever;
    },
    follow(plan) {
      patterns = plan.namePatterns;
      const wanted = plan.kernel.tables.some((table) => table.sets.some(({ name }) => name === DNS_WATCH));
      if (wanted && !stop) start();
      else if (!wanted && stop) end();
    },
    close() {
      end();
      if (saving) save();
      clearTimeout(saving);
    },
  };
}
