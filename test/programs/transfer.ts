// Bytes by TCP, and what came of them: transfer.ts take ADDRESS (says its port, then the digest) | transfer.ts give ADDRESS PORT MEBIBYTES (says the digest)
import { createHash } from "node:crypto";
import { connect, createServer } from "node:net";

const [way, address = "", port = "", mebibytes = ""] = process.argv.slice(2);
const hash = createHash("sha256");
if (way === "take") {
  const server = createServer((socket) => {
    socket.on("data", (chunk) => hash.update(chunk));
    socket.on("end", () => {
      console.log(hash.digest("hex"));
      socket.end();
      server.close();
    });
  });
  server.listen(0, address, () => console.log((server.address() as { readonly port: number }).port));
} else {
  const socket = connect(Number(port), address);
  for (let i = 0; i < Number(mebibytes); i++) {
    const chunk = Buffer.alloc(1 << 20, `${i} of ${mebibytes} `);
    hash.update(chunk);
    if (!socket.write(chunk)) await new Promise((resolve) => socket.once("drain", resolve));
  }
  socket.end(() => console.log(hash.digest("hex")));
}
