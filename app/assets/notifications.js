// Notifications: what happened to the caller's tickets.
import { askLogin } from "./account.js";
import { call, Problem, user } from "./api.js";
import { dateTime, errorText, t } from "./i18n.js";
import { actionButton, fill, h, loading, notice, toast } from "./ui.js";

const PAGE_SIZE = 20;

/** A link to the notifications that tells how many have not been read. */
export function notificationsLink() {
  const count = h("span", { class: "count", id: "unread", hidden: true });
  call("GET", "/api/notifications?unread=true&size=100").then((unread) => {
    if (!unread.length) return;
    count.textContent = unread.length < 100 ? String(unread.length) : "99+";
    count.setAttribute("aria-label", t("notifications.unread", { n: unread.length }));
    count.hidden = false;
  }, (error) => {
    // The number is no necessity.
    if (!(error instanceof Problem)) throw error;
  });
  return h("a", { href: "/#/notifications", id: "notifications" }, t("notifications"), count);
}

/** Shows the caller's notifications, the newest first. */
export async function notificationsView(main, signal) {
  const email = h("div", {});
  const list = h("ul", { class: "reservations", id: "notification-list" });
  const after = h("div", { class: "after" }, loading(t("loading")));
  main.replaceChildren(h("h1", { class: "page-title" }, t("notifications")), email, list, after);
  if (!user) {
    after.replaceChildren(notice(t("notifications.needsLogin"), actionButton(t("login"), { class: "button" }, askLogin)));
    return;
  }
  const events = new Map();
  let before = null;

  async function more() {
    try {
      if (!email.children.length) fill(email, await emailSwitch(signal));
      const query = new URLSearchParams({ size: PAGE_SIZE, ...(before === null ? {} : { before }) });
      const found = await call("GET", `/api/notifications?${query}`, { signal });
      const unknown = [...new Set(found.map((one) => one.eventId))].filter((id) => !events.has(id));
      await Promise.all(unknown.map(async (id) => events.set(id, await call("GET", `/api/events/${id}`, { signal }))));
      list.append(...found.map((one) => entry(one, events.get(one.eventId))));
      before = found.at(-1)?.id ?? before;
      if (!list.children.length) fill(after, notice(t("notifications.none")));
      else fill(after, found.length === PAGE_SIZE && actionButton(t("more"), { class: "button quiet" }, more));
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      fill(after, notice(errorText(error), actionButton(t("again"), { class: "button quiet" }, more)));
    }
  }
  await more();
}

/** What turns notifications by e-mail on and off; nothing where there are none. */
async function emailSwitch(signal) {
  const { available, wanted } = await call("GET", "/api/notifications/email", { signal });
  if (!available && !wanted) return null;
  const box = h("input", { type: "checkbox", id: "by-email", checked: wanted, onchange: async () => {
    const on = box.checked;
    box.disabled = true;
    try {
      await call(on ? "PUT" : "DELETE", "/api/notifications/email");
      toast(t(on ? "notifications.emailOn" : "notifications.emailOff"));
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      // Somewhere else it was turned off before.
      if (on || error.code !== "not_found") {
        box.checked = !on;
        toast(errorText(error), "error");
      }
    }
    box.disabled = false;
    box.focus();
  } });
  return h("label", { class: "check" }, box, t("notifications.email"));
}

function entry(one, event) {
  const item = h("li", { class: `reservation notification ${one.readAt ? "" : "unread"}`, "data-kind": one.kind },
    h("p", {}, h("strong", {}, t(`notice.${one.kind}`))),
    h("p", { class: "facts" }, h("a", { href: `#/events/${event.eventId}` }, event.eventName), " · ", dateTime(one.createdAt)));
  if (!one.readAt) {
    const read = actionButton(t("notifications.read"), { class: "link", "data-action": "read" }, async () => {
      try {
        await call("PATCH", `/api/notifications/${one.id}/read`);
        item.classList.remove("unread");
        read.remove();
        document.getElementById("notifications")?.replaceWith(notificationsLink());
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        toast(errorText(error), "error");
      }
    });
    item.append(read);
  }
  return item;
}
