// The door: look a reservation up by its 4-digit code, and check tickets in by code or QR text.
import { askLogin } from "./account.js";
import { call, callPage, now, Problem, user } from "./api.js";
import { dateTime, errorText, seatName, t } from "./i18n.js";
import { actionButton, announce, h, loading, notice } from "./ui.js";

/** Shows the page for those at the door. */
export async function staffView(main, signal) {
  const content = h("div", { class: "staff" });
  main.replaceChildren(h("h1", {}, t("staff")), content);
  if (!user) {
    content.replaceChildren(notice(t("staff.needsLogin"), actionButton(t("login"), { class: "button" }, askLogin)));
    return;
  }
  if (!["STAFF", "ADMIN"].includes(user.role)) {
    content.replaceChildren(notice(t("error.staff_only")));
    return;
  }
  content.replaceChildren(loading(t("loading")));
  try {
    // Not those of long ago: they would fill the page. What began yesterday may still go on, wherever we are.
    const from = new Date(now() - 2 * 86_400_000).toISOString().slice(0, 10);
    const { items } = await callPage(`/api/events?sort=date&size=100&from=${from}`, { signal });
    content.replaceChildren(...(items.length ? form(items) : [notice(t("noEvents"))]));
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    content.replaceChildren(notice(errorText(error), actionButton(t("again"), { class: "button quiet" }, () => staffView(main, signal))));
  }
}

function form(events) {
  const event = h("select", { id: "staff-event" }, events.map((each) =>
    h("option", { value: each.eventId }, `${each.eventName} · ${dateTime(each.eventDate)}`)));
  const code = h("input", {
    id: "staff-code", inputmode: "numeric", pattern: "[0-9]{4}", maxlength: 4, required: true, autocomplete: "off", class: "code-input",
  });
  const qr = h("input", { id: "staff-qr", autocomplete: "off", maxlength: 300, required: true });
  const result = h("div", { id: "staff-result", "aria-live": "polite" });
  const eventId = () => Number(event.value);

  const attempt = async (action) => {
    try {
      await action();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      result.replaceChildren(h("div", { class: "verdict no" }, h("span", { class: "verdict-mark", "aria-hidden": "true" }, "✕"), h("p", {}, errorText(error))));
    }
    result.scrollIntoView({ block: "nearest" });
  };
  const checkIn = (ticket) => attempt(async () => {
    const body = { eventId: eventId(), nonce: crypto.randomUUID(), ...ticket };
    const done = await call("POST", "/api/staff/check-in", { body });
    const seats = done.seatIds.map(seatName).join(", ");
    result.replaceChildren(h("div", { class: "verdict yes", id: "checked-in" }, h("span", { class: "verdict-mark", "aria-hidden": "true" }, "✓"),
      h("p", {}, h("strong", {}, t("staff.admitted", { n: done.admitted })), seats && [h("br"), seats])));
    announce(t("staff.admitted", { n: done.admitted }));
  });
  const lookup = () => attempt(async () => {
    const code4 = code.value;
    const query = new URLSearchParams({ eventId: eventId(), code4 });
    const found = await call("GET", `/api/staff/lookup?${query}`);
    result.replaceChildren(h("div", { class: "found", id: "found" },
      h("p", {}, t("staff.found", { id: found.reservationId, n: found.quantity })),
      h("ul", { class: "lines" }, found.tickets.map((ticket) => h("li", {},
        h("span", {}, ticket.seatId ? seatName(ticket.seatId) : t("ticket")), h("span", {}, t(`ticketStatus.${ticket.status}`))))),
      actionButton(t("staff.checkIn"), { class: "button wide", id: "check-in" }, () => checkIn({ code4 }))));
  });
  const submit = (action) => (submitted) => {
    submitted.preventDefault();
    action();
  };
  return [
    h("label", { class: "field" }, h("span", {}, t("staff.event")), event),
    h("div", { class: "staff-forms" },
      h("form", { class: "box", onsubmit: submit(lookup) }, h("label", { class: "field" }, h("span", {}, t("code4")), code),
        h("button", { class: "button wide", id: "look-up" }, t("staff.lookup"))),
      h("form", { class: "box", onsubmit: submit(() => checkIn({ ticket: qr.value.trim() }).then(() => { qr.value = ""; })) },
        h("label", { class: "field" }, h("span", {}, t("staff.qr")), qr),
        h("button", { class: "button quiet wide" }, t("staff.checkIn")))),
    result];
}
