// nftables in process, through libnftables: commands as one transaction, tables read back as text.
import koffi from "koffi";
import { KernelError } from "../errors.ts";
import type { Nftables } from "../kernel.ts";
import type { NftFamily } from "../netfilter.ts";
import { encodeElementChanges } from "../netlink/nft-elements.ts";
import { decodeTable, NFT_MESSAGE, NFT_SUBSYSTEM, tableDump } from "../netlink/nftables.ts";
import { printElementChanges } from "../nft/diff.ts";
import { parseTable } from "../nft/parse.ts";
import { collectSoon } from "./garbage.ts";
import { trimMemory } from "./libc.ts";
import type { NetlinkSocket } from "./socket.ts";

/** nft_ctx_output flags (nftables/libnftables.h). */
const OUTPUT_NUMERIC_PROTOCOL = 1 << 7;
const OUTPUT_NUMERIC_PRIORITY = 1 << 8;
const OUTPUT_STATELESS = 1 << 2;

interface Library {
  readonly create: (flags: number) => unknown;
  readonly free: (context: unknown) => void;
  readonly setOutput: (context: unknown, flags: number) => void;
  readonly bufferOutput: (context: unknown) => number;
  readonly bufferError: (context: unknown) => number;
  readonly run: (context: unknown, commands: string) => number;
  readonly output: (context: unknown) => string;
  readonly error: (context: unknown) => string;
}

/** Transactions of so many characters leave megabytes of freed memory behind, which is given back then: 45,000 Services are 20 million. */
const LARGE = 1_000_000;
/** So many are a table of tens of thousands of Services: what V8 keeps of their making is worth a collection, too. */
const VAST = 8_000_000;

let loaded: Library | undefined;

function library(): Library {
  if (loaded) return loaded;
  let lib: ReturnType<typeof koffi.load>;
  try {
    lib = koffi.load("libnftables.so.1");
  } catch (cause) {
    throw new KernelError({
      operation: "load libnftables.so.1",
      subject: "nftables",
      errno: "ENOENT",
      says: "the library is not on this machine: it programs Services and policies (Debian: apt-get install libnftables1)",
      cause,
    });
  }
  loaded = {
    create: lib.func("void *nft_ctx_new(uint32_t flags)"),
    free: lib.func("void nft_ctx_free(void *ctx)"),
    setOutput: lib.func("void nft_ctx_output_set_flags(void *ctx, uint32_t flags)"),
    bufferOutput: lib.func("int nft_ctx_buffer_output(void *ctx)"),
    bufferError: lib.func("int nft_ctx_buffer_error(void *ctx)"),
    run: lib.func("int nft_run_cmd_from_buffer(void *ctx, const char *buf)"),
    output: lib.func("const char *nft_ctx_get_output_buffer(void *ctx)"),
    error: lib.func("const char *nft_ctx_get_error_buffer(void *ctx)"),
  };
  return loaded;
}

/** Loads the library. @throws KernelError where it is not on the machine */
export function checkNftables(): void {
  library();
}

/** A handle on one namespace's nftables; `run` executes a function inside it, `socket` gives its NETLINK_NETFILTER socket. The library's socket is made at the first use and stays there. */
export function openNftables(run: <T>(action: () => T) => T, socket: () => NetlinkSocket): Nftables & { close(): void } {
  let context: unknown;
  /** Characters since memory was given back. */
  let written = 0;
  /** Characters and bytes since garbage was collected. */
  let uncollected = 0;

  function execute(commands: string): { status: number; output: string; error: string } {
    const nft = library();
    return run(() => {
      if (!context) {
        context = nft.create(0);
        nft.setOutput(context, OUTPUT_NUMERIC_PROTOCOL | OUTPUT_NUMERIC_PRIORITY | OUTPUT_STATELESS);
        nft.bufferOutput(context);
        nft.bufferError(context);
      }
      const status = nft.run(context, commands);
      return { status, output: nft.output(context), error: nft.error(context) };
    });
  }

  function count(size: number): void {
    written += size;
    uncollected += size;
    if (uncollected > VAST) {
      uncollected = 0;
      collectSoon();
    }
    if (written <= LARGE) return;
    written = 0;
    trimMemory();
  }

  function list(commands: string): string | undefined {
    const { status, output, error } = execute(commands);
    if (status !== 0) {
      if (/No such file or directory/.test(error)) return undefined;
      throw failure(commands, error);
    }
    return output;
  }

  return {
    run(transaction) {
      const requests = typeof transaction === "string" ? undefined : encodeElementChanges(transaction);
      if (requests) {
        run(() => socket().transact(NFT_SUBSYSTEM, requests, { code: "nft", operation: "change elements of nftables' sets" }));
        count(requests.reduce((sum, { body }) => sum + body.length, 0));
        return;
      }
      const commands = typeof transaction === "string" ? transaction : printElementChanges(transaction);
      const { status, error } = execute(commands);
      count(commands.length);
      if (status !== 0) throw failure(commands, error);
    },
    readTable(family: NftFamily, name: string) {
      const listing = list(`list table ${family} ${name}`);
      return listing === undefined ? undefined : parseTable(listing, family, name);
    },
    // libnftables 1.0.6 reads every chain and rule there is before it lists the tables: with 10,000 Services by iptables, for seconds.
    listTables: () =>
      socket().dump(NFT_MESSAGE.getTable, tableDump(), ({ body }) => decodeTable(body), { operation: "list tables of nftables" }),
    close() {
      if (context) library().free(context);
      context = undefined;
    },
  };
}

function failure(commands: string, error: string): KernelError {
  const words = error.trim().split("\n").slice(0, 6).join("\n");
  const errno = /Operation not permitted/.test(words)
    ? "EPERM"
    : /No such file/.test(words)
      ? "ENOENT"
      : /File exists/.test(words)
        ? "EEXIST"
        : "EINVAL";
  return new KernelError({
    operation: "nft",
    subject: commands.length > 120 ? `${commands.slice(0, 120)}…` : commands.trim(),
    errno,
    says: words || "the kernel refused the transaction",
  });
}
