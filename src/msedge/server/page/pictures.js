/**
 * A picture as the query: chosen, pasted or dropped.
 *
 * It is made small here, so that little travels, and kept in the tab under the hash of its bytes,
 * which is what the address holds: the picture itself would be too long for it.
 */

import { make } from "./elements.js";

const SIDE = 640;
const MOST_BYTES = 40 * 2 ** 20;
const MOST_UNREAD_BYTES = 10 * 2 ** 20; // of those that this browser cannot make smaller
const PREFIX = "msedge-picture-";
const held = new Map();

/** The picture cannot be used; the message says why. */
export class PictureError extends Error {}

/**
 * Read a picture, make it small and keep it.
 *
 * @param {File} file
 * @returns {Promise<string>} its key.
 */
export async function keep(file) {
  if (file.size > MOST_BYTES) throw new PictureError("That picture is larger than 40 MB.");
  const url = (await reduced(file)) ?? (await unread(file));
  const picture = { url, name: file.name || "your picture" };
  const key = hash(url);
  held.set(key, picture);
  try {
    sessionStorage.setItem(PREFIX + key, JSON.stringify(picture));
  } catch {
    // no room, or storage is switched off: it lasts until the page is left
  }
  return key;
}

/** The picture of a key, `{url, name}`; null when this tab does not have it. */
export function pictureOf(key) {
  if (!key) return null;
  if (!held.has(key)) {
    const text = stored(key);
    if (text) held.set(key, JSON.parse(text));
  }
  return held.get(key) ?? null;
}

/** A picture's bytes as base64, for the server. */
export function base64Of({ url }) {
  return url.slice(url.indexOf(",") + 1);
}

/** Whether a picture is something that the browser itself can show. */
export function isShown({ url }) {
  return !url.startsWith("data:application/");
}

/** The first picture of what was pasted or dropped, or null. */
export function pictureIn(transfer) {
  return [...(transfer?.files ?? [])].find(mayBePicture) ?? null;
}

function mayBePicture({ type, name }) {
  return type.startsWith("image/") || /\.(hei[cf]|tiff?|svg|bmp|webp)$/i.test(name);
}

async function reduced(file) {
  const source = URL.createObjectURL(file);
  try {
    const image = make("img", { src: source });
    await image.decode();
    const [width, height] = [image.naturalWidth || SIDE, image.naturalHeight || SIDE];
    const scale = Math.min(1, SIDE / Math.max(width, height));
    const sheet = document.createElement("canvas");
    sheet.width = Math.max(1, Math.round(width * scale));
    sheet.height = Math.max(1, Math.round(height * scale));
    sheet.getContext("2d").drawImage(image, 0, 0, sheet.width, sheet.height);
    // Only PNG keeps what is transparent; a camera's JPEG would be several times larger in it.
    return file.type === "image/jpeg" ? sheet.toDataURL("image/jpeg", 0.9) : sheet.toDataURL();
  } catch {
    return null;
  } finally {
    URL.revokeObjectURL(source);
  }
}

async function unread(file) {
  if (file.size > MOST_UNREAD_BYTES) {
    throw new PictureError("That picture is too large: this browser cannot make it smaller.");
  }
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () =>
      resolve(`data:application/octet-stream;${reader.result.slice(reader.result.indexOf("base64"))}`);
    reader.onerror = () => reject(new PictureError("That picture cannot be read."));
    reader.readAsDataURL(file);
  });
}

function stored(key) {
  try {
    return sessionStorage.getItem(PREFIX + key);
  } catch {
    return null;
  }
}

/**
 * A name for the bytes of a picture: FNV-1a twice, 64 bits in all. `crypto.subtle` is missing where
 * a page came without TLS from another machine, and nobody gains from making two alike.
 */
function hash(text) {
  return [0x811c9dc5, 0x9e3779b9].map((start) => fnv(text, start)).join("");
}

function fnv(text, start) {
  let value = start;
  for (let i = 0; i < text.length; i += 1) {
    value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  }
  return (value >>> 0).toString(16).padStart(8, "0");
}
