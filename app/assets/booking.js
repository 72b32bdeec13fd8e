// Booking: queue, seats or a number of tickets, hold, confirmation.
import { askLogin } from "./account.js";
import { call, callAgain, isOpen, now, Problem, readStream, user } from "./api.js";
import { openDialog, tell } from "./dialogs.js";
import { isOver, joinWaitlist, loadEvent, priceText, standing } from "./events.js";
import { clock, dateTime, errorText, money, price, seatName, t, timeOfDay } from "./i18n.js";
import { dropPass, passEnds, passHeader, waitInQueue } from "./queue.js";
import { legend, SeatMap } from "./seatmap.js";
import { actionButton, announce, countdown, fill, h, loading, notice, sleep, toast } from "./ui.js";

/** What is chosen, by event: it outlasts a change of the language and a login. */
const drafts = new Map();
/** How long live updates may still tell about a hold that was given back, in milliseconds. */
const ECHO = 1500;
/** How long to wait for the opening of a sale before the event is read again, in milliseconds: it may be put off. */
const LONGEST_WAIT = 600_000;

/** Shows an event and sells tickets for it. */
export async function bookingView(main, signal, id) {
  main.replaceChildren(loading(t("loading")));
  const event = await loadEvent(id, main, signal);
  if (!event || signal.aborted) return;
  document.title = event.eventName;
  const left = h("span", { id: "left" });
  const body = h("div", { class: "booking" });
  main.replaceChildren(
    h("a", { class: "back", href: "#/" }, t("toList")),
    h("header", { class: "event-head" },
      h("h1", {}, event.eventName),
      h("p", { class: "facts" }, [dateTime(event.eventDate), event.venue, priceText(event)].filter(Boolean).join(" · ")),
      event.description && h("p", { class: "description" }, event.description), left),
    body);
  showLeft(left, event);
  if (event.status === "CANCELLED") return body.replaceChildren(notice(t("error.event_cancelled")));
  if (isOver(event)) return body.replaceChildren(notice(t("error.event_over")));
  if (event.queue.enabled) {
    if (!user) {
      return body.replaceChildren(notice(t("queue.needsLogin"), actionButton(t("login"), { class: "button" }, askLogin)));
    }
    if (!(await waitInQueue(body, event, signal))) return undefined;
  }
  const opensIn = Date.parse(event.saleOpensAt) - now();
  // The queue lets nobody in before the sale is open.
  if (opensIn > 0 && !passEnds(id)) {
    body.replaceChildren(notice(t("opensAt", { time: dateTime(event.saleOpensAt) })));
    // Not all at the same moment, and not later than a timer can be set.
    await sleep(Math.min(opensIn, LONGEST_WAIT) + Math.random() * 1000, signal);
    return signal.aborted ? undefined : bookingView(main, signal, id);
  }
  return new Booking(main, body, left, event, signal).run();
}

function showLeft(element, event) {
  element.className = event.status === "AVAILABLE" && !isOver(event) ? "badge" : "badge sold";
  element.textContent = standing(event);
}

class Booking {
  /** Seats that this page holds itself: live updates about them are no news. */
  #own = new Set();
  #map = null;

  constructor(main, body, left, event, signal) {
    Object.assign(this, { main, body, left, event, signal });
    this.draft = drafts.get(event.eventId) ?? { seats: [], quantity: 1 };
    drafts.set(event.eventId, this.draft);
    this.panel = h("aside", { class: "panel", "aria-label": t("selection") });
  }

  async run() {
    this.body.replaceChildren(loading(t("loading")));
    try {
      if (this.event.seated) await this.#loadSeats();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.body.replaceChildren(notice(errorText(error), actionButton(t("again"), { class: "button quiet" }, () => this.run())));
      return;
    }
    const choice = this.#map
      ? h("section", { class: "map", "aria-label": t("seatMap") }, legend(), this.#map.element, h("p", { class: "aside keys" }, t("keys")))
      : h("section", { class: "map", "aria-label": t("quantity") }, h("h2", {}, t("howMany")), this.#stepper());
    this.body.replaceChildren(choice, this.panel);
    this.#renderPanel();
    await this.#watch();
  }

  async #loadSeats() {
    const seats = await call("GET", `/api/events/${this.event.eventId}/seats`, { signal: this.signal });
    if (this.#map) {
      this.#changed(seats);
    } else {
      this.#map = new SeatMap(seats, (seat) => this.#toggle(seat));
      const free = new Set(seats.filter((seat) => seat.status === "AVAILABLE").map((seat) => seat.seatId));
      this.draft.seats = this.draft.seats.filter((id) => free.has(id));
      this.#map.select(this.draft.seats);
    }
  }

  /** Live updates; while they do not come, the state is asked for now and then. */
  async #watch() {
    const path = `/api/events/${this.event.eventId}`;
    const reload = async () => {
      const fresh = await call("GET", path, { signal: this.signal });
      if (this.event.seated) await this.#loadSeats();
      this.#stock(fresh);
    };
    while (!this.signal.aborted) {
      let pause = 2;
      try {
        // A stream tells at first how many are left and what is taken, but not what became free before it began.
        const opened = () => this.event.seated && this.#loadSeats();
        await readStream(`${path}/stream`, this.signal, opened, (name, data) => this.#received(name, data));
      } catch (error) {
        if (this.signal.aborted) return;
        pause = error.retryAfter ?? 5;
        await reload().catch((problem) => console.error(problem));
      }
      await sleep(pause * 1000 * (0.8 + Math.random() * 0.4), this.signal);
    }
  }

  #received(name, data) {
    if (name === "seats" && this.#map) this.#changed(data);
    if (name === "event") this.#stock(data);
  }

  #stock(fresh) {
    const before = this.event.status;
    Object.assign(this.event, fresh);
    showLeft(this.left, this.event);
    // Otherwise the panel stays, and with it the focus of who is about to press its button.
    if (this.event.status !== before) this.#renderPanel();
  }

  #changed(changes) {
    this.#map.update(changes);
    const gone = changes.filter(({ seatId, status }) => status !== "AVAILABLE" && this.draft.seats.includes(seatId) && !this.#own.has(seatId));
    if (gone.length === 0) return;
    const ids = new Set(gone.map(({ seatId }) => seatId));
    this.draft.seats = this.draft.seats.filter((id) => !ids.has(id));
    this.#map.select(this.draft.seats);
    toast(t("seatGone", { seats: [...ids].map(seatName).join(", ") }), "error");
    this.#renderPanel();
  }

  #toggle(seat) {
    const { seats } = this.draft;
    const chosen = seats.includes(seat.seatId);
    if (!chosen && seats.length >= this.event.maxPerOrder) {
      toast(t("atMost", { n: this.event.maxPerOrder }));
      return;
    }
    this.draft.seats = chosen ? seats.filter((id) => id !== seat.seatId) : [...seats, seat.seatId];
    this.#map.select(this.draft.seats);
    this.#renderPanel();
    announce(t("announceTotal", { n: this.draft.seats.length, total: money(this.#total()) }));
  }

  #stepper() {
    const output = h("output", { id: "quantity", "aria-live": "polite" }, String(this.draft.quantity));
    const by = (step) => () => {
      const most = Math.max(1, Math.min(this.event.maxPerOrder, this.event.availableSeats));
      this.draft.quantity = Math.min(most, Math.max(1, this.draft.quantity + step));
      output.textContent = String(this.draft.quantity);
      this.#renderPanel();
    };
    return [h("div", { class: "stepper", role: "group", "aria-label": t("quantity") },
      h("button", { type: "button", class: "button quiet", "aria-label": t("fewer"), onclick: by(-1) }, "−"), output,
      h("button", { type: "button", class: "button quiet", id: "more-tickets", "aria-label": t("moreTickets"), onclick: by(1) }, "+")),
    h("p", { class: "aside" }, t("atMost", { n: this.event.maxPerOrder }))];
  }

  #count() {
    return this.#map ? this.draft.seats.length : this.draft.quantity;
  }

  #total() {
    if (!this.#map) return this.draft.quantity * this.event.price;
    return this.draft.seats.reduce((sum, id) => sum + this.#map.seat(id).price, 0);
  }

  /** The chosen seats or tickets with their prices. */
  #lines() {
    const line = (name, more, costs) => h("li", {}, h("span", {}, name, more && h("small", {}, ` ${more}`)), h("span", {}, price(costs)));
    return h("ul", { class: "lines" }, this.#map
      ? this.draft.seats.map((id) => line(seatName(id), this.#map.seat(id).grade, this.#map.seat(id).price))
      : line(t("tickets", { n: this.draft.quantity }), null, this.#total()));
  }

  #renderPanel() {
    const ends = passEnds(this.event.eventId);
    const closed = { CANCELLED: "eventCancelled", SOLD_OUT: "soldOut" }[this.event.status];
    const empty = this.#map && this.draft.seats.length === 0;
    const next = closed
      ? [h("button", { type: "button", class: "button wide", disabled: true }, t(closed)),
         user && closed === "soldOut" && actionButton(t("waitlist.join"), { class: "button quiet wide" }, () => joinWaitlist(this.event, this.signal))]
      : actionButton(user ? t("continue") : t("loginToBook"), { class: "button wide", id: "continue" }, () => this.#book());
    if (!closed && empty) next.disabled = true;
    fill(this.panel,
      h("h2", {}, t("selection")),
      empty ? h("p", { class: "aside" }, t("chooseSeats", { n: this.event.maxPerOrder })) : this.#lines(),
      h("p", { class: "total" }, h("span", {}, t("total")), h("strong", { id: "total" }, empty ? money(0) : price(this.#total()))),
      ends && h("p", { class: "aside" }, t("queue.passUntil", { time: timeOfDay(ends) })),
      h("div", { class: "panel-actions" }, next));
  }

  async #book() {
    // Logging in shows the view anew, with the same choice.
    if (!user) return void (await askLogin());
    const { eventId } = this.event;
    const body = this.#map ? { eventId, seatIds: this.draft.seats } : { eventId, quantity: this.draft.quantity };
    let hold;
    try {
      if (this.#map) this.#own = new Set(this.draft.seats);
      hold = await call("POST", "/api/holds", { body, headers: passHeader(eventId) });
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.#own.clear();
      await this.#refused(error);
      return;
    }
    const release = (options) => call("POST", "/api/holds/release", { body: { holdToken: hold.holdToken }, ...options })
      .catch((error) => console.error(error));
    const asked = new AbortController();
    addEventListener("pagehide", () => release({ keepalive: true }), { signal: asked.signal });
    const { reservation, lost } = await this.#confirm(hold);
    asked.abort();
    if (reservation) {
      dropPass(eventId);
      this.#chooseNothing();
      await showDone(this.event, reservation, this.signal);
      // The pass of the queue is used up; and whoever wants more begins anew.
      if (!this.signal.aborted && this.event.queue.enabled) location.hash = "#/mine";
      return;
    }
    await release();
    if (!lost) return void setTimeout(() => this.#own.clear(), ECHO);
    // It may be sold: nobody shall buy it a second time by chance.
    this.#chooseNothing();
    const next = await openDialog({
      title: t("lost.title"), content: h("p", {}, t("lost.explain")), signal: this.signal, id: "lost-dialog",
      actions: [{ label: t("close"), value: null }, { label: t("tab.mine"), value: "mine", kind: "primary" }],
    });
    if (next === "mine") location.hash = "#/mine";
    else if (this.#map) await this.#loadSeats().catch((problem) => console.error(problem));
  }

  #chooseNothing() {
    this.draft.seats = [];
    this.#map?.select([]);
    this.#own.clear();
    this.#renderPanel();
  }

  async #refused(error) {
    if (error.code === "pass_needed") dropPass(this.event.eventId);
    await tell(error, this.signal);
    if (this.signal.aborted) return;
    if (error.code === "pass_needed") await bookingView(this.main, this.signal, this.event.eventId);
    else if (this.#map) await this.#loadSeats().catch((problem) => console.error(problem));
  }

  /** Asks whether to pay. The reservation, or null; and whether the last answer was lost, so that there may be one. */
  async #confirm(hold) {
    const ends = Date.now() + hold.expiresInSec * 1000;
    const total = this.#total();
    const timer = h("span", { class: "timer", role: "timer" });
    const wallet = h("div", { class: "wallet" });
    const done = new AbortController();
    let reservation = null;
    let lost = false;
    if (total > 0) await showWallet(wallet, total);
    const answer = openDialog({
      title: t("confirm.title"), signal: this.signal, id: "confirm-dialog",
      content: [
        h("p", {}, h("strong", {}, this.event.eventName), h("br"), [dateTime(this.event.eventDate), this.event.venue].filter(Boolean).join(" · ")),
        this.#lines(),
        h("p", { class: "total" }, h("span", {}, t("total")), h("strong", {}, price(total))),
        wallet,
        h("p", { class: "aside" }, t(hold.exclusive ? "confirm.held" : "confirm.notHeld"), " ", timer)],
      actions: [{ label: t("back"), value: null }, {
        label: total > 0 ? t("confirm.pay") : t("confirm.free"), value: true, kind: "primary", id: "confirm",
        run: async () => {
          // A hold is confirmed once, however often that is asked for.
          reservation = await callAgain("POST", "/api/reservations/confirm", {
            body: { holdToken: hold.holdToken }, headers: passHeader(this.event.eventId),
          }, () => { lost = true; }).catch((error) => {
            lost &&= isOpen(error);
            throw error;
          });
        },
      }],
    });
    countdown(timer, ends, clock, done.signal);
    await answer;
    done.abort();
    return { reservation, lost };
  }
}

/** Shows what is in the wallet, and offers to charge what is missing. */
async function showWallet(element, total) {
  const path = `/api/wallets/${encodeURIComponent(user.userId)}`;
  try {
    const { balance } = await call("GET", path);
    const missing = total - balance;
    // The same for all attempts: what an answer that was lost told about is not charged again.
    const key = crypto.randomUUID();
    const problem = h("p", { class: "problem", role: "alert", hidden: true });
    fill(element, h("p", {}, t("wallet.balance", { amount: money(balance) })),
      missing > 0 && actionButton(t("wallet.charge", { amount: money(missing) }), { class: "button quiet" }, async () => {
        problem.hidden = true;
        try {
          await call("POST", `${path}/charge`, { body: { amount: missing }, headers: { "idempotency-key": key } });
        } catch (error) {
          if (!(error instanceof Problem)) throw error;
          problem.textContent = errorText(error);
          problem.hidden = false;
          return;
        }
        await showWallet(element, total);
      }), problem);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    element.replaceChildren(h("p", { class: "problem" }, errorText(error)));
  }
}

async function showDone(event, reservation, signal) {
  const seats = reservation.tickets.map((ticket) => ticket.seatId).filter(Boolean).map(seatName).join(", ");
  const next = await openDialog({
    title: t("done.title"), signal, id: "done-dialog",
    content: [
      h("div", { class: "tick", "aria-hidden": "true" }, "✓"),
      h("p", {}, h("strong", {}, event.eventName), h("br"), dateTime(event.eventDate), h("br"), seats || t("tickets", { n: reservation.quantity })),
      reservation.code4 && h("p", { class: "code" }, h("span", {}, t("code4")), h("strong", {}, reservation.code4))],
    actions: [{ label: t("close"), value: null, id: "done-close" }, { label: t("tab.mine"), value: "mine", kind: "primary", id: "done-mine" }],
  });
  if (next === "mine") location.hash = "#/mine";
}
