// Where the server's sockets come from: this process's own network, or descriptors made in another namespace.
import { createSocket, type RemoteInfo, type Socket as UdpSocket } from "node:dgram";
import { type Server, Socket } from "node:net";
import { type Family, familyOf } from "../base/index.ts";

/** A bound UDP socket. */
export interface UdpPort {
  /** The port it is bound to. */
  readonly port: number;
  /** `bytes` belong to the listener. Called for each datagram. */
  receive(listener: (bytes: Uint8Array, address: string, port: number) => void): void;
  /** Sends without waiting; what cannot be sent is lost, as UDP may lose it. */
  send(bytes: Uint8Array, address: string, port: number): void;
  /** For a connected socket: called when the other end refuses (ICMP port unreachable) or cannot be reached. */
  failed(listener: (error: Error) => void): void;
  close(): void;
}

export interface DnsNetwork {
  /** A UDP socket bound to an address ("" for every address of both families) and port (0 for any). @throws the system's EADDRINUSE, … */
  bindUdp(address: string, port: number): Promise<UdpPort>;
  /** Makes a server listen, address as above. @throws the system's EADDRINUSE, … */
  listenTcp(server: Server, address: string, port: number): Promise<void>;
  /** A UDP socket on a port of its own, connected to another server: it sends only there, and hears only from there. */
  connectUdp(address: string, port: number): Promise<UdpPort>;
  /** A connection that is being made; failures are events of the socket. */
  connectTcp(address: string, port: number): Socket;
}

/** The network of this process. */
export function hostNetwork(): DnsNetwork {
  return {
    bindUdp: (address, port) => {
      const bind = (local: string) => {
        const socket = udpSocket(familyOf(local), RECEIVE_BUFFER);
        return bound(socket, (ready) => socket.bind({ port, address: local, exclusive: true }, ready)).then(() => udpPort(socket));
      };
      return address === "" ? bind("::").catch((error) => onlyV4(error, () => bind("0.0.0.0"))) : bind(address);
    },
    listenTcp: (server, address, port) => {
      const listen = (host: string) => listening(server, () => server.listen({ port, host, backlog: BACKLOG, exclusive: true }));
      return address === "" ? listen("::").catch((error) => onlyV4(error, () => listen("0.0.0.0"))) : listen(address);
    },
    connectUdp: async (address, port) => {
      const socket = udpSocket(familyOf(address));
      await bound(socket, (ready) => socket.bind({ port: 0, exclusive: true }, ready));
      return connected(socket, address, port);
    },
    connectTcp: (address, port) => new Socket().connect({ host: address, port }),
  };
}

/** How sockets are made in another namespace: the two calls of the kernel room's NetworkNamespace. */
export interface SocketMaker {
  bindSocket(options: {
    readonly protocol: "udp" | "tcp";
    readonly address: string;
    readonly port: number;
    readonly v6only?: boolean;
    readonly backlog?: number;
  }): number;
  openSocket(options: { readonly protocol: "tcp" | "udp"; readonly family: Family }): number;
}

/** The network of another namespace, by descriptors that are made in it. */
export function namespaceNetwork(maker: SocketMaker): DnsNetwork {
  const udp = async (address: string, port: number) => {
    const socket = udpSocket(familyOf(address));
    const fd = maker.bindSocket({ protocol: "udp", address, port, v6only: false });
    await bound(socket, (ready) => socket.bind({ fd }, ready));
    return socket;
  };
  return {
    bindUdp: async (address, port) => udpPort(await udp(address === "" ? "::" : address, port)),
    listenTcp: async (server, address, port) => {
      const fd = maker.bindSocket({ protocol: "tcp", address: address === "" ? "::" : address, port, backlog: BACKLOG });
      await listening(server, () => server.listen({ fd }));
    },
    connectUdp: async (address, port) => connected(await udp(familyOf(address) === 6 ? "::" : "0.0.0.0", 0), address, port),
    connectTcp: (address, port) => {
      // A descriptor that is not connected yet must not be read from before it is: manualStart.
      const socket = new Socket({ fd: maker.openSocket({ protocol: "tcp", family: familyOf(address) }), manualStart: true } as never);
      return socket.connect({ host: address, port });
    },
  };
}

const BACKLOG = 1024;
/** Bytes; a burst of some thousand queries waits in the kernel instead of being lost. The kernel gives at most net.core.rmem_max. */
const RECEIVE_BUFFER = 4 * 1024 * 1024;

/** Without a look-up for each datagram: whom to send to is an address already. */
function udpSocket(family: Family, recvBufferSize?: number): UdpSocket {
  const lookup = (host: string, _options: unknown, done: (error: null, address: string, family: number) => void) =>
    done(null, host, family);
  const size = recvBufferSize === undefined ? {} : { recvBufferSize };
  return createSocket({ type: family === 6 ? "udp6" : "udp4", lookup: lookup as never, ...size });
}

/** On a machine without IPv6 every address is every IPv4 address. */
function onlyV4<T>(error: unknown, again: () => Promise<T>): Promise<T> {
  const { code } = error as { code?: string };
  if (code === "EAFNOSUPPORT" || code === "EADDRNOTAVAIL") return again();
  throw error;
}

function listening(server: Server, listen: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.once("listening", () => {
      server.off("error", reject);
      resolve();
    });
    listen();
  });
}

function bound(socket: UdpSocket, bind: (ready: () => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (error: Error) => {
      socket.close();
      reject(error);
    };
    socket.once("error", failed);
    bind(() => {
      socket.off("error", failed);
      // An ICMP error for an answer that nobody took is no concern of the server.
      socket.on("error", () => {});
      resolve();
    });
  });
}

function connected(socket: UdpSocket, address: string, port: number): Promise<UdpPort> {
  return new Promise((resolve, reject) => {
    socket.connect(port, address, (error?: Error) => {
      if (!error) return resolve(udpPort(socket, true));
      socket.close();
      reject(error);
    });
  });
}

/** Bytes that may wait to be sent; beyond that they are lost, as they would be in a full queue of the network. */
const UNSENT = 1024 * 1024;
/** After so many datagrams it is looked how much waits. */
const LOOK_EVERY = 64;

/** Errors that say that nobody is there. */
const REFUSALS: ReadonlySet<string> = new Set(["ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH"]);

function udpPort(socket: UdpSocket, isConnected = false): UdpPort {
  const state = { open: true, sent: 0, full: false };
  // An ICMP error is told once: to who reads, or to who sends before that. Node tells a sender only by a callback.
  const sent = (error: NodeJS.ErrnoException | null) => {
    if (error?.code !== undefined && REFUSALS.has(error.code)) socket.emit("error", error);
  };
  return {
    port: socket.address().port,
    receive: (listener) => {
      socket.on("message", (bytes: Buffer, remote: RemoteInfo) => listener(bytes, remote.address, remote.port));
    },
    send: (bytes, address, port) => {
      if (!state.open) return;
      if (state.full || ++state.sent % LOOK_EVERY === 0) state.full = socket.getSendQueueSize() > UNSENT;
      if (state.full) return;
      if (isConnected) socket.send(bytes, sent);
      else socket.send(bytes, port, address);
    },
    failed: (listener) => {
      socket.on("error", listener);
    },
    close: () => {
      if (!state.open) return;
      state.open = false;
      socket.close();
    },
  };
}
