// The face of the overlay data path.
export { annotationsTaken, isOverlayNode, macOf } from "./annotations.ts";
export { BRIDGE, gatewayOf, type OverlayPlan, planOverlay } from "./overlay.ts";
export { hostLinkName, planPodNetwork } from "./pod.ts";
export { podCidrs } from "./pod-networks.ts";
