// The seat map: a grid of buttons of which one is in the tab order; the arrow keys go from seat to seat.
import { price, seatName, t } from "./i18n.js";
import { h } from "./ui.js";

/** What a seat can be, in the order of the legend. */
const STATES = ["available", "selected", "held", "reserved"];
/** Shape as well as colour tells the states apart. */
const MARKS = { available: "", selected: "✓", held: "", reserved: "✕" };

/** Explains the shapes and colours. */
export function legend() {
  return h("ul", { class: "legend", "aria-label": t("legend") }, STATES.map((state) =>
    h("li", {}, h("span", { class: `seat ${state}`, "aria-hidden": "true" }, MARKS[state]), t(`seat.${state}`))));
}

/** A map of seats as the API gives them. `toggle(seat)` is called for a seat that can be chosen or given back. */
export class SeatMap {
  #cells = new Map();
  #rows = [];
  #statuses = new Map();
  #selected = new Set();
  #focused = null;

  constructor(seats, toggle) {
    let row = null;
    let grade = null;
    const grid = h("div", { class: "seat-grid", role: "grid", "aria-label": t("seatMap"), "aria-multiselectable": "true", onkeydown: (event) => this.#key(event) });
    for (const seat of seats) {
      if (row?.label !== seat.rowLabel) {
        row = { label: seat.rowLabel, seats: [] };
        this.#rows.push(row);
        if (grade !== seat.grade) {
          grade = seat.grade;
          grid.append(h("div", { class: "grade", role: "presentation" }, grade && h("strong", {}, grade), ` ${price(seat.price)}`));
        }
        row.element = h("div", { role: "row", class: "seat-row" }, h("span", { role: "rowheader", class: "row-label" }, seat.rowLabel));
        grid.append(row.element);
      }
      const cell = h("button", { type: "button", role: "gridcell", tabindex: "-1", "data-seat": seat.seatId, onclick: () => this.#click(seat, toggle) });
      cell.addEventListener("focus", () => this.#focus(cell));
      this.#cells.set(seat.seatId, { seat, cell, row: this.#rows.length - 1, place: row.seats.length });
      row.seats.push(cell);
      row.element.append(cell);
      this.#statuses.set(seat.seatId, seat.status);
    }
    this.element = h("div", { class: "seat-scroll" }, h("div", { class: "seat-plan" }, h("div", { class: "stage" }, t("stage")), grid));
    for (const id of this.#cells.keys()) this.#paint(id);
    this.#focus(this.#rows[0]?.seats[0]);
  }

  /** Takes over what changed: `[{ seatId, status }]`. */
  update(changes) {
    for (const { seatId, status } of changes) {
      this.#statuses.set(seatId, status);
      this.#paint(seatId);
    }
  }

  /** Shows these seats as chosen. */
  select(ids) {
    const before = this.#selected;
    this.#selected = new Set(ids);
    for (const id of new Set([...before, ...this.#selected])) this.#paint(id);
  }

  /** The seat with this identifier, as the API gave it, and its status now. */
  seat(id) {
    return { ...this.#cells.get(id).seat, status: this.#statuses.get(id) };
  }

  #state(id) {
    return this.#selected.has(id) ? "selected" : this.#statuses.get(id).toLowerCase();
  }

  #paint(id) {
    const found = this.#cells.get(id);
    if (!found) return;
    const { seat, cell } = found;
    const state = this.#state(id);
    cell.className = `seat ${state}`;
    cell.textContent = MARKS[state] || seat.colNumber;
    cell.setAttribute("aria-selected", String(state === "selected"));
    cell.setAttribute("aria-disabled", String(state === "held" || state === "reserved"));
    const label = [seatName(id), seat.grade, price(seat.price), t(`seat.${state}`)].filter(Boolean).join(", ");
    cell.setAttribute("aria-label", label);
    cell.title = label;
  }

  #click(seat, toggle) {
    const state = this.#state(seat.seatId);
    if (state === "available" || state === "selected") toggle(seat);
  }

  #focus(cell) {
    if (!cell) return;
    this.#focused?.setAttribute("tabindex", "-1");
    cell.setAttribute("tabindex", "0");
    this.#focused = cell;
  }

  #key(event) {
    const at = this.#cells.get(event.target.dataset.seat);
    if (!at) return;
    const line = this.#rows[at.row].seats;
    const vertically = (by) => {
      const next = this.#rows[at.row + by]?.seats;
      return next?.[Math.min(at.place, next.length - 1)];
    };
    const next = {
      ArrowLeft: () => line[at.place - 1],
      ArrowRight: () => line[at.place + 1],
      ArrowUp: () => vertically(-1),
      ArrowDown: () => vertically(1),
      Home: () => line[0],
      End: () => line.at(-1),
    }[event.key]?.();
    if (!next) return;
    event.preventDefault();
    next.focus();
  }
}
