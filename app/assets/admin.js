// For administrators: make events, steer their queues, cancel them.
import { askLogin } from "./account.js";
import { call, callAgain, callPage, Problem, user } from "./api.js";
import { openDialog } from "./dialogs.js";
import { isOver } from "./events.js";
import { dateTime, errorText, number, t } from "./i18n.js";
import { actionButton, field, fill, h, loading, notice, toast } from "./ui.js";

/** Shows the page for administrators. */
export async function adminView(main, signal) {
  const content = h("div", { class: "staff" }, loading(t("loading")));
  main.replaceChildren(h("h1", { class: "page-title" }, t("admin")), content);
  if (!user) {
    content.replaceChildren(notice(t("admin.needsLogin"), actionButton(t("login"), { class: "button" }, askLogin)));
    return;
  }
  if (user.role !== "ADMIN") {
    content.replaceChildren(notice(t("error.admin_only")));
    return;
  }
  const reload = async () => {
    try {
      const { items } = await callPage("/api/events?sort=latest&size=100", { signal });
      fill(content, newEvent(reload), h("h2", {}, t("admin.events")),
        items.length ? h("ul", { class: "reservations" }, items.map((event) => eventCard(event, reload, signal))) : notice(t("noEvents")));
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      fill(content, notice(errorText(error), actionButton(t("again"), { class: "button quiet" }, reload)));
    }
  };
  await reload();
}

/** Runs an action of a form; what fails is said, and what was typed stays. */
function sending(form, action) {
  const submit = form.querySelector("[type=submit]");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    try {
      await action(new FormData(form));
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      toast(errorText(error), "error");
    } finally {
      submit.disabled = false;
    }
  });
  return form;
}

/** Rows A, B, … Z, AA, … */
function rowName(index) {
  const letter = String.fromCharCode(65 + (index % 26));
  return index < 26 ? letter : rowName(Math.floor(index / 26) - 1) + letter;
}

function newEvent(reload) {
  const numberField = (name, value, more) => field(t(`admin.${name}`), { name, type: "number", min: 1, step: 1, required: true, value, inputmode: "numeric", ...more });
  const general = h("div", {}, numberField("tickets", 100, { max: 1000000 }));
  const seated = h("div", { class: "pair" }, numberField("rows", 5, { max: 100 }), numberField("seatsPerRow", 14, { max: 1000 }));
  const choose = (isSeated) => {
    for (const [part, shown] of [[general, !isSeated], [seated, isSeated]]) {
      part.hidden = !shown;
      for (const input of part.querySelectorAll("input")) input.disabled = !shown;
    }
  };
  const kind = h("select", { name: "kind", onchange: () => choose(kind.value === "seated") },
    h("option", { value: "general" }, t("admin.general")), h("option", { value: "seated" }, t("admin.seated")));
  const form = h("form", { class: "box", id: "new-event" },
    field(t("admin.name"), { name: "name", required: true, maxlength: 200 }),
    field(t("admin.venue"), { name: "venue", maxlength: 200 }),
    field(t("admin.description"), { name: "description", maxlength: 2000 }),
    field(t("admin.date"), { name: "date", type: "datetime-local", required: true }),
    h("label", { class: "field" }, h("span", {}, t("admin.kind")), kind), general, seated,
    numberField("price", 0, { min: 0, max: 1000000000 }),
    h("label", { class: "check" }, h("input", { type: "checkbox", name: "queue" }), t("admin.queue")),
    h("button", { class: "button", type: "submit", id: "create" }, t("admin.create")));
  choose(false);
  sending(form, async (values) => {
    const places = values.get("kind") === "seated"
      ? { seatMap: Array.from({ length: Number(values.get("rows")) }, (_, index) => ({ row: rowName(index), seats: Number(values.get("seatsPerRow")) })) }
      : { totalSeats: Number(values.get("tickets")) };
    const queue = values.get("queue") ? { queue: { enabled: true, admitPerSecond: 10, maxInside: 200 } } : {};
    const body = {
      eventName: values.get("name"), venue: values.get("venue"), description: values.get("description"),
      eventDate: new Date(values.get("date")).toISOString(), price: Number(values.get("price")), ...places, ...queue,
    };
    const made = await call("POST", "/api/events", { body });
    toast(t("admin.created", { name: made.eventName }));
    await reload();
  });
  return h("details", { class: "new-event" }, h("summary", { id: "new" }, t("admin.new")), form);
}

function eventCard(event, reload, signal) {
  const cancelled = event.status === "CANCELLED";
  return h("li", { class: "reservation", "data-event": event.eventId },
    h("div", { class: "reservation-head" },
      h("div", {}, h("h2", {}, h("a", { href: `#/events/${event.eventId}` }, event.eventName)),
        h("p", { class: "facts" }, dateTime(event.eventDate), event.venue && [h("br"), event.venue])),
      cancelled && h("span", { class: "badge sold" }, t("eventCancelled"))),
    h("p", {}, t("admin.sold", { sold: number(event.totalSeats - event.availableSeats), total: number(event.totalSeats) })),
    !cancelled && queueForm(event),
    !cancelled && !isOver(event) && h("div", { class: "actions" },
      actionButton(t("admin.cancel"), { class: "button danger", "data-action": "cancel-event" }, async () => {
        if (await askCancel(event, signal)) {
          toast(t("admin.cancelled"));
          await reload();
        }
      })));
}

function queueForm(event) {
  const { enabled, admitPerSecond, maxInside } = event.queue;
  return sending(h("form", { class: "inline-form" },
    h("label", { class: "check" }, h("input", { type: "checkbox", name: "enabled", checked: enabled }), t("admin.queue")),
    field(t("admin.perSecond"), { name: "admitPerSecond", type: "number", min: 0.1, max: 100000, step: 0.1, required: true, value: admitPerSecond }),
    field(t("admin.maxInside"), { name: "maxInside", type: "number", min: 1, max: 1000000, step: 1, required: true, value: maxInside }),
    h("button", { class: "button quiet", type: "submit", "data-action": "save-queue" }, t("admin.save"))), async (values) => {
    const queue = {
      enabled: values.get("enabled") !== null, admitPerSecond: Number(values.get("admitPerSecond")), maxInside: Number(values.get("maxInside")),
    };
    await call("PATCH", `/api/events/${event.eventId}`, { body: { queue } });
    toast(t("admin.saved"));
  });
}

function askCancel(event, signal) {
  return openDialog({
    title: t("admin.cancelTitle"), signal, id: "cancel-event-dialog",
    content: [h("p", {}, h("strong", {}, event.eventName), h("br"), dateTime(event.eventDate)), h("p", {}, t("admin.cancelExplain"))],
    actions: [{ label: t("back"), value: null }, {
      label: t("admin.cancel"), value: true, kind: "danger", id: "cancel-event",
      run: () => callAgain("PATCH", `/api/events/${event.eventId}`, { body: { cancelled: true } }),
    }],
  });
}
