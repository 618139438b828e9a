// As much of RFC 6455 as a browser needs of a server that tests are made with.
import { createHash } from 'node:crypto';

export function accept(req, socket) {
  const key = createHash('sha1').update(req.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64');
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${key}\r\nSec-WebSocket-Protocol: sunzi.v1.json\r\n\r\n`);
}

/** A whole message in one frame. */
export function frame(opcode, payload) {
  const n = payload.length;
  const head = n < 126 ? Buffer.from([0x80 | opcode, n]) : n < 65536 ? Buffer.from([0x80 | opcode, 126, n >> 8, n & 255]) : Buffer.alloc(10);
  if (n >= 65536) {
    head[0] = 0x80 | opcode;
    head[1] = 127;
    head.writeBigUInt64BE(BigInt(n), 2);
  }
  return Buffer.concat([head, payload]);
}

// Clients' frames are masked; the page sends none above 64 KiB.
export function unframe(b) {
  if (b.length < 2) return null;
  let n = b[1] & 127;
  let at = 2;
  if (n === 126) {
    if (b.length < 4) return null;
    n = b.readUInt16BE(2);
    at = 4;
  }
  if (b.length < at + 4 + n) return null;
  const mask = b.subarray(at, at + 4);
  const payload = Buffer.from(b.subarray(at + 4, at + 4 + n));
  for (let i = 0; i < n; i++) payload[i] ^= mask[i & 3];
  return { opcode: b[0] & 15, payload, length: at + 4 + n };
}
