// The face of the CNI room.
export { type AttachmentRecord, type AttachmentStore, openAttachments } from "./attachments.ts";
export { installPlugin } from "./install.ts";
export {
  CNI_CODE,
  type CniCall,
  CniError,
  type CniRequest,
  type CniResult,
  encodeError,
  encodeResult,
  parseCall,
  SUPPORTED_VERSIONS,
} from "./protocol.ts";
export { type CniHandler, type CniServerOptions, parseWire, serveCni } from "./server.ts";
