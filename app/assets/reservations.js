// My Reservations: tickets with their codes, offers from the waitlist, and what is over.
import { askLogin } from "./account.js";
import { call, callAgain, imageUrl, Problem, user } from "./api.js";
import { openDialog, tell } from "./dialogs.js";
import { isOver, tabs } from "./events.js";
import { dateTime, errorText, money, price, seatName, t } from "./i18n.js";
import { actionButton, h, loading, notice, toast } from "./ui.js";

/** Asks, cancels, and says that it is done. True when it is. */
export async function cancelReservation(reservation, event, signal) {
  let lost = false;
  const cancelled = await openDialog({
    title: t("cancel.title"), signal, id: "cancel-dialog",
    content: [h("p", {}, h("strong", {}, event.eventName), h("br"), dateTime(event.eventDate), h("br"), what(reservation)),
      h("p", {}, reservation.amount > 0 ? t("cancel.refund", { amount: money(reservation.amount) }) : t("cancel.explain"))],
    actions: [{ label: t("cancel.keep"), value: null }, {
      label: t("cancelReservation"), value: true, kind: "danger", id: "cancel-confirm",
      run: () => callAgain("DELETE", `/api/reservations/${reservation.reservationId}`, {}, () => { lost = true; }).catch((error) => {
        // What was cancelled is not there to be cancelled again.
        if (!(lost && error.status === 404)) throw error;
      }),
    }],
  });
  if (!cancelled) return false;
  await openDialog({
    title: t("cancelled.title"), signal, id: "cancelled-dialog",
    content: h("p", {}, reservation.amount > 0 ? t("cancelled.refunded", { amount: money(reservation.amount) }) : t("cancelled.explain")),
    actions: [{ label: t("close"), value: true, kind: "primary", id: "cancelled-close" }],
  });
  return true;
}

/** Seats, or the number of tickets. */
function what(reservation) {
  const seats = reservation.tickets.map((ticket) => ticket.seatId).filter(Boolean).map(seatName).join(", ");
  return seats || t("tickets", { n: reservation.quantity });
}

/** Shows what the caller has reserved. */
export async function reservationsView(main, signal) {
  const content = h("div", { class: "mine" }, loading(t("loading")));
  main.replaceChildren(h("div", { class: "list-head" }, h("h1", { class: "visually-hidden" }, t("tab.mine")), tabs("mine")), content);
  if (!user) {
    content.replaceChildren(notice(t("mine.needsLogin"), actionButton(t("login"), { class: "button" }, askLogin)));
    return;
  }
  const images = [];
  signal.addEventListener("abort", () => images.forEach((url) => URL.revokeObjectURL(url)), { once: true });
  const reload = async () => {
    try {
      await fill(content, images, reload, signal);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      content.replaceChildren(notice(errorText(error), actionButton(t("again"), { class: "button quiet" }, reload)));
    }
  };
  await reload();
}

async function fill(content, images, reload, signal) {
  const [reservations, wishes] = await Promise.all([
    call("GET", `/api/reservations/user/${encodeURIComponent(user.userId)}`, { signal }), call("GET", "/api/waitlist", { signal })]);
  const waiting = wishes.filter((wish) => ["WAITING", "OFFERED"].includes(wish.status));
  const ids = new Set([...reservations, ...waiting].map((entry) => entry.eventId));
  const events = new Map(await Promise.all([...ids].map(async (id) => [id, await call("GET", `/api/events/${id}`, { signal })])));
  const live = reservations.filter((reservation) => reservation.status === "CONFIRMED");
  const ended = reservations.filter((reservation) => !["CONFIRMED", "OFFERED"].includes(reservation.status));
  const parts = [
    ...waiting.map((wish) => wishCard(wish, events.get(wish.eventId), reload, signal)),
    ...live.map((reservation) => reservationCard(reservation, events.get(reservation.eventId), images, reload, signal))];
  content.replaceChildren(
    parts.length ? h("ul", { class: "reservations" }, parts)
      : notice(t("mine.empty"), h("a", { class: "button", href: "#/" }, t("toList"))),
    ...(ended.length ? [h("details", { class: "ended" }, h("summary", {}, t("mine.ended", { n: ended.length })),
      h("ul", {}, ended.map((reservation) => h("li", {}, events.get(reservation.eventId).eventName, " · ", what(reservation), " · ",
        t(`status.${reservation.status}`)))))] : []));
}

function reservationCard(reservation, event, images, reload, signal) {
  const over = isOver(event);
  const used = reservation.tickets.some((ticket) => ticket.status === "USED");
  return h("li", { class: "reservation", "data-reservation": reservation.reservationId },
    h("div", { class: "reservation-head" },
      h("div", {}, h("h2", {}, h("a", { href: `#/events/${event.eventId}` }, event.eventName)),
        h("p", { class: "facts" }, dateTime(event.eventDate), event.venue && [h("br"), event.venue])),
      reservation.code4 && h("p", { class: "code" }, h("span", {}, t("code4")), h("strong", {}, reservation.code4))),
    h("p", {}, t("mine.summary", { what: what(reservation), amount: price(reservation.amount) })),
    h("ul", { class: "tickets" }, reservation.tickets.filter((ticket) => ticket.status !== "CANCELLED").map((ticket) => ticketCard(reservation, ticket, images, signal))),
    !over && !used && h("div", { class: "actions" }, actionButton(t("cancelReservation"), { class: "button danger", "data-action": "cancel" }, async () => {
      if (await cancelReservation(reservation, event, signal)) await reload();
    })));
}

function ticketCard(reservation, ticket, images, signal) {
  const name = ticket.seatId ? seatName(ticket.seatId) : t("ticket");
  const image = h("img", { alt: t("qr", { name }), width: 200, height: 200 });
  const load = async () => {
    try {
      image.src = await imageUrl(`/api/reservations/${reservation.reservationId}/tickets/${ticket.code}/qr`);
      images.push(image.src);
    } catch (error) {
      if (!signal.aborted) toast(errorText(error), "error");
    }
  };
  load();
  return h("li", { class: `ticket ${ticket.status.toLowerCase()}` }, image, h("strong", {}, name),
    h("code", {}, ticket.code), ticket.status === "USED" && h("span", { class: "badge sold" }, t("ticket.used")));
}

function wishCard(wish, event, reload, signal) {
  const offered = wish.status === "OFFERED";
  const leave = () => call("DELETE", `/api/waitlist/${wish.id}`);
  const act = (action) => async () => {
    try {
      await action();
      await reload();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      await tell(error, signal);
    }
  };
  return h("li", { class: `reservation ${offered ? "offer" : ""}` },
    h("h2", {}, event.eventName),
    h("p", { class: "facts" }, dateTime(event.eventDate)),
    h("p", {}, offered ? t("waitlist.offered", { n: wish.quantity, time: dateTime(wish.offerExpiresAt) }) : t("waitlist.waiting", { n: wish.quantity })),
    h("div", { class: "actions" },
      actionButton(t(offered ? "waitlist.decline" : "waitlist.leave"), { class: "button quiet" }, act(leave)),
      offered && actionButton(t("waitlist.accept"), { class: "button" }, act(() => call("POST", `/api/waitlist/${wish.id}/accept`)))));
}
