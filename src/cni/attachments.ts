// The durable record of what is wired on a node: one file per attachment, whole or not there at all.
import { closeSync, fsyncSync, mkdirSync, openSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import { tryParsePrefix } from "../base/index.ts";

/** One interface of one container. */
export interface AttachmentRecord {
  readonly network: string;
  readonly containerId: string;
  readonly interface: string;
  readonly podNamespace: string;
  /** "" for a container that no Kubernetes pod stands behind. */
  readonly podName: string;
  readonly podUid?: string;
  readonly netns: string;
  readonly hostLink: string;
  readonly mac: string;
  readonly addresses: readonly string[];
}

export interface AttachmentStore {
  get(containerId: string, ifname: string): AttachmentRecord | undefined;
  /** Oldest first. */
  list(): readonly AttachmentRecord[];
  /** On disk when it returns. */
  put(record: AttachmentRecord): void;
  /** Absent is no error. */
  delete(containerId: string, ifname: string): void;
  /** Files that could not be read and were set aside. */
  readonly damaged: readonly string[];
}

/** Opens the records of a directory. A damaged file is set aside (".damaged"): its addresses are free again, its pod must be wired anew. */
export function openAttachments(directory: string): AttachmentStore {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const records = new Map<string, AttachmentRecord>();
  const damaged: string[] = [];
  let listed: readonly AttachmentRecord[] | undefined;
  for (const file of byAge(directory)) {
    const path = join(directory, file);
    if (file.endsWith(".new")) rmSync(path, { force: true });
    if (!file.endsWith(".json")) continue;
    const record = readRecord(path);
    if (record) records.set(keyOf(record.containerId, record.interface), record);
    else {
      renameSync(path, `${path}.damaged`);
      damaged.push(path);
    }
  }
  const pathOf = (containerId: string, ifname: string) => join(directory, `${containerId}.${ifname}.json`);
  return {
    damaged,
    get: (containerId, ifname) => records.get(keyOf(containerId, ifname)),
    list() {
      listed ??= [...records.values()];
      return listed;
    },
    put(record) {
      writeDurably(pathOf(record.containerId, record.interface), JSON.stringify(record));
      records.set(keyOf(record.containerId, record.interface), record);
      listed = undefined;
    },
    delete(containerId, ifname) {
      rmSync(pathOf(containerId, ifname), { force: true });
      records.delete(keyOf(containerId, ifname));
      listed = undefined;
    },
  };
}

function keyOf(containerId: string, ifname: string): string {
  return `${containerId} ${ifname}`;
}

/** The oldest first: what was given out last must not be given out again first. */
function byAge(directory: string): string[] {
  const files = readdirSync(directory).map((file) => ({ file, age: statSync(join(directory, file)).mtimeMs }));
  return files.sort((a, b) => a.age - b.age).map(({ file }) => file);
}

function readRecord(path: string): AttachmentRecord | undefined {
  try {
    const value = JSON.parse(readFileSync(path, "utf8")) as Partial<AttachmentRecord>;
    const texts = [
      value.network,
      value.containerId,
      value.interface,
      value.podNamespace,
      value.podName,
      value.netns,
      value.hostLink,
      value.mac,
    ];
    if (!texts.every((text) => typeof text === "string")) return undefined;
    const { addresses } = value;
    if (!Array.isArray(addresses) || !addresses.every((each) => typeof each === "string" && tryParsePrefix(each))) return undefined;
    return value as AttachmentRecord;
  } catch {
    return undefined;
  }
}

/** Written beside, flushed, then renamed: a crash leaves the old file or the new one. */
function writeDurably(path: string, text: string): void {
  const fd = openSync(`${path}.new`, "w", 0o600);
  try {
    writeSync(fd, text);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(`${path}.new`, path);
}
