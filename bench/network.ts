// Throughput of the ways to connect pods, as `fairlead bench network` measures it, with a picture: node bench/network.ts [PICTURE.svg] [ROUNDS]
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const [picture = "network.svg", rounds = "5"] = process.argv.slice(2);
const fairlead = fileURLToPath(new URL("../bin/fairlead", import.meta.url));
const { status } = spawnSync(fairlead, ["bench", "network", "--rounds", rounds, "--plot", picture], { stdio: "inherit" });
process.exit(status ?? 1);
