// The truth tables of all languages.
import { CALICO } from "./calico.ts";
import { CILIUM } from "./cilium.ts";
import { CLUSTER_WIDE } from "./cluster-wide.ts";
import { HOSTS } from "./hosts.ts";
import { KUBERNETES } from "./kubernetes.ts";
import { LANGUAGES } from "./languages.ts";
import type { TruthSuite } from "./table.ts";

export const SUITES: readonly TruthSuite[] = [KUBERNETES, CLUSTER_WIDE, CALICO, HOSTS, CILIUM, LANGUAGES];
