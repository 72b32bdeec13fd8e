// The list of events.
import { call, callPage, now, Problem, user } from "./api.js";
import { openDialog } from "./dialogs.js";
import { dateTime, day, errorText, number, price, t } from "./i18n.js";
import { cancelReservation } from "./reservations.js";
import { actionButton, fill, h, loading, notice, toast } from "./ui.js";

const PAGE_SIZE = 12;

/** The tabs above the lists. */
export function tabs(current) {
  const tab = (key, href) => h("a", { href, "aria-current": key === current ? "page" : null }, t(`tab.${key}`));
  return h("nav", { class: "tabs", "aria-label": t("lists") },
    tab("most-reserved", "#/"), tab("latest", "#/newest"), tab("mine", "#/mine"));
}

/** The lowest price and the highest, as a text. */
export function priceText(event) {
  const prices = event.priceTiers.length ? event.priceTiers.map((tier) => tier.price) : [event.price];
  const [low, high] = [Math.min(...prices), Math.max(...prices)];
  return low === high ? price(low) : `${price(low)} – ${price(high)}`;
}

/** Whether an event has taken place. */
export function isOver(event) {
  return Date.parse(event.eventDate) < now();
}

/** What is to be had of an event, as a text. */
export function standing(event) {
  if (event.status === "CANCELLED") return t("eventCancelled");
  if (isOver(event)) return t("eventOver");
  return event.status === "SOLD_OUT" ? t("soldOut") : left(event);
}

function left(event) {
  return t("left", { left: number(event.availableSeats), total: number(event.totalSeats) });
}

/** The caller's active reservations by event. */
async function reservationsByEvent(signal) {
  const found = new Map();
  if (!user) return found;
  for (const reservation of await call("GET", `/api/reservations/user/${encodeURIComponent(user.userId)}`, { signal })) {
    if (reservation.status !== "CONFIRMED") continue;
    found.set(reservation.eventId, [...(found.get(reservation.eventId) ?? []), reservation]);
  }
  return found;
}

/** Shows the events in an order: `most-reserved` or `latest`. */
export async function listView(main, signal, sort) {
  const list = h("ul", { class: "cards" });
  const after = h("div", { class: "after" }, loading(t("loading")));
  const search = h("input", { type: "search", placeholder: t("search"), "aria-label": t("search"), maxlength: 100 });
  let timer = null;
  search.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(restart, 250);
  });
  main.replaceChildren(h("div", { class: "list-head" }, h("h1", { class: "visually-hidden" }, t("title")), tabs(sort), search), list, after);
  let page = 0;
  let generation = 0;

  function restart() {
    page = 0;
    return more();
  }

  async function more() {
    const mine = ++generation;
    // What took place before today is of no use to anybody.
    const from = new Date(now()).toISOString().slice(0, 10);
    const query = new URLSearchParams({ sort, page, size: PAGE_SIZE, from, search: search.value.trim() });
    try {
      const [{ items, total }, reserved] = await Promise.all([callPage(`/api/events?${query}`, { signal }), reservationsByEvent(signal)]);
      // An answer to an older question than the last is of no use.
      if (mine !== generation) return;
      if (page === 0) list.replaceChildren();
      list.append(...items.map((event) => card(event, reserved.get(event.eventId) ?? [], restart, signal)));
      page += 1;
      const left = total > page * PAGE_SIZE;
      fill(after, ...(total === 0 ? [notice(t("noEvents"))] : []),
        ...(left ? [actionButton(t("more"), { class: "button quiet" }, more)] : []));
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      after.replaceChildren(notice(errorText(error), actionButton(t("again"), { class: "button quiet" }, restart)));
    }
  }
  await more();
}

function card(event, reservations, changed, signal) {
  const when = day(event.eventDate);
  const soldOut = event.status === "SOLD_OUT" && !isOver(event);
  return h("li", { class: "card", "data-event": event.eventId },
    h("div", { class: `poster poster-${event.eventId % 5}`, "aria-hidden": "true" },
      h("span", { class: "poster-month" }, when.month), h("span", { class: "poster-day" }, when.day), h("span", {}, when.weekday)),
    h("div", { class: "card-body" },
      h("h2", {}, h("a", { href: `#/events/${event.eventId}` }, event.eventName)),
      h("p", { class: "facts" }, dateTime(event.eventDate), event.venue && [h("br"), event.venue]),
      event.description && h("p", { class: "description" }, event.description),
      h("div", { class: "card-foot" },
        h("p", { class: "left" }, h("strong", {}, priceText(event)), h("br"),
          // Who is logged in sees a button that says so.
          soldOut && user ? left(event) : standing(event)),
        user && h("div", { class: "card-actions" }, actions(event, reservations, changed, signal)))));
}

function actions(event, reservations, changed, signal) {
  if (isOver(event)) return [];
  if (reservations.length > 0) {
    return [actionButton(t("cancelReservation"), { class: "button danger", "data-action": "cancel" }, async () => {
      // Which of several to cancel is chosen where all of them are shown.
      if (reservations.length > 1) location.hash = "#/mine";
      else if (await cancelReservation(reservations[0], event, signal)) await changed();
    })];
  }
  if (event.status === "CANCELLED") return [];
  if (event.status === "SOLD_OUT") {
    return [h("button", { class: "button", type: "button", disabled: true, "data-action": "sold-out" }, t("soldOut")),
      actionButton(t("waitlist.join"), { class: "button quiet" }, () => joinWaitlist(event, signal))];
  }
  return [h("a", { class: "button", href: `#/events/${event.eventId}`, "data-action": "reserve" }, t("reserve"))];
}

/** Asks how many, and puts the caller on the waitlist. */
export async function joinWaitlist(event, signal) {
  const quantity = h("input", { type: "number", min: 1, max: event.maxPerOrder, value: 1, required: true });
  const joined = await openDialog({
    title: t("waitlist.join"), signal,
    content: [h("p", {}, t("waitlist.explain", { event: event.eventName })), h("label", { class: "field" }, h("span", {}, t("quantity")), quantity)],
    actions: [{ label: t("back"), value: null }, {
      label: t("waitlist.join"), value: true, kind: "primary",
      run: () => call("POST", "/api/waitlist", { body: { eventId: event.eventId, quantity: Number(quantity.value) } }),
    }],
  });
  if (joined) toast(t("waitlist.joined"));
}

/** Reads an event; shows what is wrong and returns null when that fails. */
export async function loadEvent(id, main, signal) {
  try {
    return await call("GET", `/api/events/${id}`, { signal });
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    main.replaceChildren(notice(errorText(error), h("a", { class: "button quiet", href: "#/" }, t("toList"))));
    return null;
  }
}

