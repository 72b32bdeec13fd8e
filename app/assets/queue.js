// The waiting queue in front of an event.
import { call, now, Problem, readStream } from "./api.js";
import { duration, errorText, number, t } from "./i18n.js";
import { actionButton, announce, h, sleep } from "./ui.js";

const passes = new Map();
/** How long a screen reader has peace after it told the place, in milliseconds. Places change up to once a second. */
const PEACE = 15_000;

/** The pass for an event as a header, once the queue let the caller in. */
export function passHeader(eventId) {
  const pass = passes.get(eventId);
  return pass ? { "x-queue-pass": pass.text } : {};
}

/** When the pass for an event ends, in milliseconds, or null. */
export function passEnds(eventId) {
  return passes.get(eventId)?.ends ?? null;
}

/** Forgets a pass that is used up or refused. */
export function dropPass(eventId) {
  passes.delete(eventId);
}

/** Shows the queue until the caller is let in: then true. False when the caller left or went elsewhere. */
export async function waitInQueue(container, event, signal) {
  if (passEnds(event.eventId) > now()) return true;
  const path = `/api/queue/${event.eventId}`;
  const left = new AbortController();
  const either = AbortSignal.any([signal, left.signal]);
  const position = h("p", { class: "queue-position", id: "queue-position" }, "–");
  const wait = h("p", { class: "queue-wait" });
  const bar = h("progress", { max: 1, value: 0, "aria-label": t("queue.progress") });
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  container.replaceChildren(h("section", { class: "queue", "aria-labelledby": "queue-title" },
    h("h2", { id: "queue-title" }, t("queue.title")),
    h("p", { class: "queue-label" }, t("queue.yourPlace")), position, bar, wait,
    h("p", { class: "aside" }, t("queue.stay")), problem,
    actionButton(t("queue.leave"), { class: "button quiet" }, async () => {
      left.abort();
      await call("DELETE", `${path}/me`).catch((error) => console.error(error));
      location.hash = "#/";
    })));

  let first = null;
  let admitted = false;
  let timer = null;
  let told = { position: null, until: 0 };
  const tell = (position) => {
    clearTimeout(timer);
    if (position === told.position) return;
    timer = setTimeout(() => {
      told = { position, until: performance.now() + PEACE };
      announce(t("queue.announce", { position: number(position) }));
    }, told.until - performance.now());
  };
  const show = (place) => {
    problem.hidden = true;
    if (place.state === "ADMITTED") {
      passes.set(event.eventId, { text: place.pass, ends: Date.parse(place.passExpiresAt) });
      admitted = true;
    } else if (place.state === "NOT_NEEDED") {
      admitted = true;
    } else if (place.state === "PRESALE") {
      position.textContent = "–";
      wait.textContent = t("queue.presale");
    } else if (place.state === "WAITING") {
      first = Math.max(first ?? 0, place.position);
      position.textContent = number(place.position);
      bar.value = 1 - (place.position - 1) / first;
      wait.textContent = place.estimatedWaitSec === null || place.estimatedWaitSec === undefined
        ? t("queue.unknown") : t("queue.wait", { time: duration(place.estimatedWaitSec) });
      tell(place.position);
    }
    return place;
  };
  while (!either.aborted && !admitted) {
    let pause = 5;
    try {
      // Asking for the place is what starts the full time of a pass; entering does not.
      let place = await call("GET", `${path}/me`, { signal: either });
      if (place.state === "ABSENT") place = await call("POST", `${path}/enter`, { signal: either });
      pause = show(place).retryAfterSec;
      if (!admitted) {
        await readStream(`${path}/stream`, either, null, (name, place) => name === "place" && show(place))
          .catch((error) => console.debug("no stream", error));
      }
    } catch (error) {
      if (either.aborted) break;
      if (error instanceof Problem) {
        problem.textContent = errorText(error);
        problem.hidden = false;
        // An event that is over or cancelled lets nobody in any more.
        if ([401, 409].includes(error.status)) break;
        pause = error.retryAfter ?? pause;
      }
    }
    if (!admitted) await sleep(pause * 1000, either);
  }
  clearTimeout(timer);
  if (admitted) announce(t("queue.admitted"));
  return admitted && !either.aborted;
}
