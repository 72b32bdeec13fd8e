// Talks to the service. The access token lives in memory only; the refresh token, which is good once, in the
// session storage of this tab. Neither ever goes into an address.

const REFRESH_KEY = "ticketing.refresh";
/** How long to wait before what was lost is asked for again, in milliseconds. */
const PAUSES = [500, 1500, 3000];
let accessToken = null;
let refreshing = null;

/** Who is logged in, or null. */
export let user = null;

/** How far the service's clock is ahead of this one, in milliseconds, as of the last answer. */
let ahead = 0;

/** The service's time in milliseconds, up to a second late: this clock may be wrong, and it is not what decides. */
export function now() {
  return Date.now() + ahead;
}

/** What the service said is wrong. `code` is stable; see texts.*.js for what people see. */
export class Problem extends Error {
  constructor(status, code, detail, retryAfter) {
    super(detail);
    Object.assign(this, { status, code, retryAfter });
  }
}

function keep(session) {
  const before = user?.userId;
  accessToken = session?.accessToken ?? null;
  user = session?.user ?? null;
  if (session?.refreshToken) sessionStorage.setItem(REFRESH_KEY, session.refreshToken);
  else sessionStorage.removeItem(REFRESH_KEY);
  if (user?.userId !== before) document.dispatchEvent(new Event("session"));
}

async function request(method, path, { body, headers = {}, signal, keepalive } = {}) {
  const all = { ...headers };
  if (accessToken) all.authorization = `Bearer ${accessToken}`;
  if (body !== undefined) all["content-type"] = "application/json";
  const response = await fetch(path, { method, headers: all, signal, keepalive, body: body === undefined ? undefined : JSON.stringify(body) })
    .catch(unreachable);
  const date = Date.parse(response.headers.get("date"));
  if (date) ahead = date - Date.now();
  return response;
}

function unreachable(error) {
  if (error.name === "AbortError") throw error;
  throw new Problem(0, "unreachable", error.message);
}

async function problemOf(response) {
  const body = await response.json().catch(() => ({}));
  const retryAfter = Number(response.headers.get("retry-after")) || null;
  return new Problem(response.status, body.code ?? "internal", body.detail ?? response.statusText, retryAfter);
}

/** Gets a new access token, once however many ask. True when it worked. */
function refresh() {
  refreshing ??= (async () => {
    const refreshToken = sessionStorage.getItem(REFRESH_KEY);
    if (!refreshToken) return false;
    const response = await request("POST", "/api/auth/refresh", { body: { refreshToken } });
    if (response.ok) keep(await response.json());
    else if (response.status === 401) keep(null);
    return response.ok;
  })().finally(() => { refreshing = null; });
  return refreshing;
}

async function answered(method, path, options) {
  let response = await request(method, path, options);
  if (response.status === 401 && user) {
    if (await refresh()) response = await request(method, path, options);
    else if (!sessionStorage.getItem(REFRESH_KEY)) keep(null);
  }
  if (!response.ok) throw await problemOf(response);
  return response;
}

/** Calls the API and returns the body, or null when there is none. Throws a Problem. */
export async function call(method, path, options) {
  const response = await answered(method, path, options);
  const text = await response.text().catch(unreachable);
  return text ? JSON.parse(text) : null;
}

/** Whether a problem leaves it open what became of a request: its answer was lost on the way, or did not come in time. */
export function isOpen(error) {
  return error instanceof Problem && ([0, 500, 502, 504].includes(error.status) || error.code === "timeout");
}

/**
 * Calls what may be repeated without harm, and repeats it while answers are lost. `lost` is called when one was: the
 * next answer may be about what is done already.
 */
export async function callAgain(method, path, options, lost) {
  for (const pause of PAUSES) {
    try {
      return await call(method, path, options);
    } catch (error) {
      if (!isOpen(error)) throw error;
      lost?.();
    }
    await new Promise((ready) => setTimeout(ready, pause));
  }
  return call(method, path, options);
}

/** A page of a list, with the number of entries on all pages. */
export async function callPage(path, options) {
  const response = await answered("GET", path, options);
  return { items: await response.json().catch(unreachable), total: Number(response.headers.get("x-total-count")) };
}

/** The address of an image that needs the access token. Revoke it when the image is gone. */
export async function imageUrl(path) {
  const response = await answered("GET", path);
  return URL.createObjectURL(await response.blob());
}

/** Takes up the session of this tab, after a reload. */
export async function resume() {
  try {
    await refresh();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
  }
}

export async function login(email, password) {
  keep(await call("POST", "/api/auth/login", { body: { email, password } }));
}

/** Fetches the session of a login at a provider. */
export async function finishLogin() {
  keep(await call("POST", "/api/auth/oidc/session"));
}

export async function signUp(name, email, password) {
  await call("POST", "/api/auth/signup", { body: { name, email, password } });
  await login(email, password);
}

export async function logout() {
  const refreshToken = sessionStorage.getItem(REFRESH_KEY);
  keep(null);
  if (refreshToken) await call("POST", "/api/auth/logout", { body: { refreshToken } });
}

/**
 * Reads server-sent events until the stream ends. Unlike EventSource this sends the access token in a header.
 * `opened` is called, and waited for, before the first event. Throws a Problem when there is no stream.
 */
export async function readStream(path, signal, opened, received) {
  const response = await answered("GET", path, { signal, headers: { accept: "text/event-stream" } });
  await opened?.();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    let end;
    while ((end = text.indexOf("\n\n")) >= 0) {
      const lines = text.slice(0, end).split("\n");
      text = text.slice(end + 2);
      const part = (name) => lines.filter((line) => line.startsWith(`${name}:`)).map((line) => line.slice(name.length + 1).trim());
      const data = part("data").join("\n");
      if (data) received(part("event")[0], JSON.parse(data));
    }
  }
}
