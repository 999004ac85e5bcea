// Entry of the CNI executable in Node: the first argument is the path under which it was called.
import { runFallback } from "./fallback.ts";

runFallback(process.argv[2] ?? "");
