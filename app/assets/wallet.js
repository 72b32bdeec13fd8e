// The wallet: what is in it, putting money in, and what went in and out.
import { askLogin } from "./account.js";
import { call, Problem, user } from "./api.js";
import { dateTime, errorText, money, t } from "./i18n.js";
import { actionButton, field, fill, h, loading, notice, toast } from "./ui.js";

const PAGE_SIZE = 20;

/** Shows the caller's wallet. */
export async function walletView(main, signal) {
  const content = h("div", { class: "narrow-page" }, loading(t("loading")));
  main.replaceChildren(h("h1", { class: "page-title" }, t("wallet")), content);
  if (!user) {
    content.replaceChildren(notice(t("wallet.needsLogin"), actionButton(t("login"), { class: "button" }, askLogin)));
    return;
  }
  const path = `/api/wallets/${encodeURIComponent(user.userId)}`;
  const reload = async () => {
    try {
      const [wallet, entries] = await Promise.all([
        call("GET", path, { signal }), call("GET", `${path}/transactions?size=${PAGE_SIZE}`, { signal })]);
      fill(content,
        h("p", { class: "box balance" }, h("span", {}, t("wallet.inside")), h("strong", { id: "balance" }, money(wallet.balance))),
        charge(path, reload), ledger(path, entries, signal));
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      fill(content, notice(errorText(error), actionButton(t("again"), { class: "button quiet" }, reload)));
    }
  };
  await reload();
}

/** A form to put money in. The key makes a repeated request harmless. */
function charge(path, reload) {
  let key = crypto.randomUUID();
  const submit = h("button", { class: "button", id: "charge" }, t("wallet.add"));
  const form = h("form", { class: "box inline-form" },
    field(t("wallet.amount"), { name: "amount", type: "number", min: 1, max: 100000000, step: 1, required: true, value: 50000, inputmode: "numeric" }),
    submit);
  form.addEventListener("input", () => { key = crypto.randomUUID(); });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    const amount = Number(new FormData(form).get("amount"));
    try {
      await call("POST", `${path}/charge`, { body: { amount }, headers: { "idempotency-key": key } });
      toast(t("wallet.added", { amount: money(amount) }));
      await reload();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      toast(errorText(error), "error");
      submit.disabled = false;
    }
  });
  return form;
}

function ledger(path, entries, signal) {
  if (!entries.length) return notice(t("wallet.none"));
  const list = h("ul", { class: "lines", id: "ledger" });
  const after = h("div", { class: "after" });
  const add = (found) => {
    list.append(...found.map((entry) => h("li", { "data-kind": entry.kind },
      h("span", {}, t(`entry.${entry.kind}`), h("br"), h("small", {}, dateTime(entry.createdAt))),
      h("span", { class: "amount" }, h("strong", {}, `${entry.amount > 0 ? "+" : ""}${money(entry.amount)}`),
        h("br"), h("small", {}, t("wallet.after", { amount: money(entry.balanceAfter) }))))));
    fill(after, found.length === PAGE_SIZE && actionButton(t("more"), { class: "button quiet" }, async () => {
      try {
        add(await call("GET", `${path}/transactions?size=${PAGE_SIZE}&before=${found.at(-1).id}`, { signal }));
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        toast(errorText(error), "error");
      }
    }));
  };
  add(entries);
  return h("section", { class: "box", "aria-label": t("wallet.entries") }, h("h2", {}, t("wallet.entries")), list, after);
}
