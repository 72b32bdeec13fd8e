// The frame of the page: header, languages, and which view the address asks for.
import { askLogin, comeBack } from "./account.js";
import { adminView } from "./admin.js";
import * as api from "./api.js";
import { bookingView } from "./booking.js";
import { listView } from "./events.js";
import { language, languages, setLanguage, t } from "./i18n.js";
import { notificationsLink, notificationsView } from "./notifications.js";
import { reservationsView } from "./reservations.js";
import { staffView } from "./staff.js";
import { h, refocus } from "./ui.js";
import { walletView } from "./wallet.js";

const main = document.getElementById("main");
let current = new AbortController();

function header() {
  const switches = Object.entries(languages).map(([code, name]) =>
    h("button", {
      type: "button", class: "link", lang: code, "aria-pressed": String(code === language),
      onclick: () => {
        setLanguage(code);
        show();
        document.querySelector('#top [aria-pressed="true"]').focus();
      },
    }, name));
  const account = api.user
    ? [h("span", { class: "who" }, api.user.name),
       h("button", { type: "button", class: "button quiet", id: "logout", onclick: leave }, t("logout"))]
    : [h("button", { type: "button", class: "button", id: "login", onclick: () => askLogin() }, t("login"))];
  const links = api.user && h("nav", { class: "links", "aria-label": t("menu") },
    h("a", { href: "/#/wallet" }, t("wallet")), notificationsLink(),
    ["STAFF", "ADMIN"].includes(api.user.role) && h("a", { href: "/staff" }, t("staff")),
    api.user.role === "ADMIN" && h("a", { href: "/#/admin", id: "admin" }, t("admin")));
  document.getElementById("top").replaceChildren(
    h("a", { class: "brand", href: "/#/" }, h("img", { src: "/assets/icon.svg", alt: "", width: 28, height: 28 }), t("title")),
    h("div", { class: "languages", role: "group", "aria-label": t("language") }, switches),
    h("div", { class: "account" }, links, account),
  );
}

async function leave() {
  try {
    await api.logout();
  } catch (error) {
    // The session of this tab is gone in any case.
    if (!(error instanceof api.Problem)) throw error;
  }
}

function view() {
  if (location.pathname === "/staff") return [t("staff"), staffView];
  const [first, second] = location.hash.replace(/^#\/?/, "").split("/");
  if (first === "events" && /^\d+$/.test(second)) return [t("title"), (to, signal) => bookingView(to, signal, Number(second))];
  if (first === "mine") return [t("tab.mine"), reservationsView];
  if (first === "notifications") return [t("notifications"), notificationsView];
  if (first === "wallet") return [t("wallet"), walletView];
  if (first === "admin") return [t("admin"), adminView];
  const sort = first === "newest" ? "latest" : "most-reserved";
  return [t("title"), (to, signal) => listView(to, signal, sort)];
}

/** Shows what the address asks for, in the current language. */
async function show() {
  current.abort();
  current = new AbortController();
  const { signal } = current;
  document.documentElement.lang = language;
  document.getElementById("skip").textContent = t("skip");
  header();
  const [title, render] = view();
  document.title = title;
  try {
    await render(main, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

addEventListener("hashchange", () => {
  scrollTo(0, 0);
  main.focus({ preventScroll: true });
  show();
});
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
await api.resume();
await comeBack();
// Only now: resuming is part of the first rendering.
document.addEventListener("session", () => {
  show();
  refocus();
});
show();
