/** Talk with the server: questions as JSON, refusals as `ServerError`, silence as `NoConnection`. */

const TOKEN = "msedge-token";
let token = null;

/** The server answered, and said no. */
export class ServerError extends Error {
  /**
   * @param {number} status of HTTP.
   * @param {string} detail the server's one line.
   * @param {number} wait seconds after which asking again makes sense; 0 where it makes none.
   */
  constructor(status, detail, wait = 0) {
    super(detail);
    this.status = status;
    this.wait = wait;
  }
}

/** The server did not answer. */
export class NoConnection extends Error {}

/**
 * Take the token out of an address that was opened as `/#token=T`.
 *
 * It stays in the tab, never in the address, which people share and browsers remember.
 *
 * @returns {boolean} whether there was one.
 */
export function takeToken() {
  const fields = new URLSearchParams(location.hash.slice(1));
  const given = fields.get("token");
  token = given ?? stored();
  if (given === null) return false;
  try {
    sessionStorage.setItem(TOKEN, given);
  } catch {
    // storage is switched off: the token lasts until the page is left
  }
  const parts = location.hash.slice(1).split("&");
  const rest = parts.filter((part) => !part.startsWith("token=")).join("&");
  history.replaceState(null, "", rest ? `#${rest}` : location.pathname + location.search);
  return true;
}

/** Have photos shown too: images cannot send the token, so the server gives a cookie for it. */
export async function startSession() {
  if (token !== null) await send("api/session", { method: "POST" });
}

/** What the gallery holds. */
export function gallery() {
  return json("api/gallery");
}

/** Ask for photos. */
export function search(body, signal) {
  return post("api/search", body, signal);
}

/** Ask where in photos it is: a search's body, and their ids as `photos`. */
export function where(body, signal) {
  return post("api/where", body, signal);
}

/** What a word means, and the names that begin like it. */
export function namesLike(word) {
  return json(`api/names?q=${encodeURIComponent(word)}`);
}

/** Whether the server answers at all. */
export async function isAlive() {
  try {
    await send("healthz", { signal: AbortSignal.timeout(4000) });
    return true;
  } catch {
    return false;
  }
}

/** Where a photo lies on the server. */
export function photoUrl(id) {
  return `api/photos/${id}`;
}

/** Where a photo's thumbnail lies. */
export function thumbnailUrl(id) {
  return `api/photos/${id}/thumbnail`;
}

function post(path, body, signal) {
  return json(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
}

async function json(path, options) {
  const response = await send(path, options);
  try {
    return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new NoConnection("the answer broke off");
  }
}

async function send(path, options = {}) {
  const headers = { ...options.headers };
  if (token !== null) headers.Authorization = `Bearer ${token}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new NoConnection(error.message);
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

async function refusal(response) {
  let detail = "";
  try {
    const answer = await response.json();
    detail = typeof answer.detail === "string" ? answer.detail : "";
  } catch {
    // a proxy's page, or nothing: the status is all there is to say
  }
  const busy = response.status === 429 || response.status === 503;
  const wait = busy ? Number(response.headers.get("Retry-After")) || 2 : 0;
  return new ServerError(response.status, detail || `the server answered ${response.status}`, wait);
}

function stored() {
  try {
    return sessionStorage.getItem(TOKEN);
  } catch {
    return null;
  }
}
